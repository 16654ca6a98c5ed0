//! A classic BPF program that a socket's datagrams must pass to be queued.

use std::io;
use std::os::fd::AsFd;

use socket2::{SockFilter, SockRef};

/// One instruction, `struct sock_filter`: operation, jumps where it is true and
/// where not, operand. There is an accumulator and an index register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// `code`.
    pub code: u16,
    /// `jt`: instructions to skip.
    pub when_true: u8,
    /// `jf`.
    pub when_false: u8,
    /// `k`.
    pub operand: u32,
}

/// The operations that are used here, as `linux/bpf_common.h` puts them together.
/// What is loaded is taken to be in network order.
impl Instruction {
    /// The accumulator becomes `value`.
    #[must_use]
    pub fn load(value: u32) -> Self {
        Self::plain(0x00, value)
    }

    /// It becomes the byte at `offset`.
    #[must_use]
    pub fn load_byte(offset: u32) -> Self {
        Self::plain(0x30, offset)
    }

    /// It becomes the `size` bytes at index + `offset`.
    #[must_use]
    pub fn load_indexed(size: Size, offset: u32) -> Self {
        let code = match size {
            Size::Word => 0x40,
            Size::Half => 0x48,
            Size::Byte => 0x50,
        };
        Self::plain(code, offset)
    }

    /// Only the bits of `mask` stay in the accumulator.
    #[must_use]
    pub fn mask(mask: u32) -> Self {
        Self::plain(0x54, mask)
    }

    /// The index becomes `value`.
    #[must_use]
    pub fn load_index(value: u32) -> Self {
        Self::plain(0x01, value)
    }

    /// The index becomes what the accumulator is.
    #[must_use]
    pub fn index_from_accumulator() -> Self {
        Self::plain(0x07, 0)
    }

    /// The accumulator, an offset from which attributes stand, becomes that of the
    /// attribute whose number is the index; 0 where there is none.
    #[doc(alias = "SKF_AD_NLATTR")]
    #[must_use]
    pub fn find_attribute() -> Self {
        Self::plain(0x20, ANCILLARY + 12)
    }

    /// The accumulator, the offset of a nest, becomes that of the attribute in it
    /// whose number is the index; 0 where there is none.
    #[doc(alias = "SKF_AD_NLATTR_NEST")]
    #[must_use]
    pub fn find_nested() -> Self {
        Self::plain(0x20, ANCILLARY + 16)
    }

    /// Skips as many as said where the accumulator is `value`, and where not.
    #[must_use]
    pub fn if_equal(value: u32, when_true: u8, when_false: u8) -> Self {
        Instruction { code: 0x15, when_true, when_false, operand: value }
    }

    /// Where it is larger than `value`.
    #[must_use]
    pub fn if_above(value: u32, when_true: u8, when_false: u8) -> Self {
        Instruction { code: 0x25, when_true, when_false, operand: value }
    }

    /// Where it is `value` or larger.
    #[must_use]
    pub fn if_at_least(value: u32, when_true: u8, when_false: u8) -> Self {
        Instruction { code: 0x35, when_true, when_false, operand: value }
    }

    /// Ends: the datagram is queued, whole.
    #[must_use]
    pub fn accept() -> Self {
        Self::plain(0x06, u32::MAX)
    }

    /// Ends: it is not.
    #[must_use]
    pub fn reject() -> Self {
        Self::plain(0x06, 0)
    }

    fn plain(code: u16, operand: u32) -> Self {
        Instruction { code, when_true: 0, when_false: 0, operand }
    }
}

/// `SKF_AD_OFF`: loads from here on are calls.
const ANCILLARY: u32 = (-0x1000_i32).cast_unsigned();

/// How much to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// 1 byte.
    Byte,
    /// 2 bytes.
    Half,
    /// 4 bytes.
    Word,
}

/// A program for the kernel. What it rejects takes no place in the queue and is
/// not counted as dropped: it is as if it had never been sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketFilter {
    instructions: Vec<Instruction>,
}

impl SocketFilter {
    /// The program of these instructions. The kernel checks it when it is attached.
    #[must_use]
    pub fn new(instructions: Vec<Instruction>) -> Self {
        SocketFilter { instructions }
    }

    /// Its instructions.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    pub(super) fn attach(&self, socket: &impl AsFd) -> io::Result<()> {
        let program: Vec<SockFilter> =
            self.instructions.iter().map(|i| SockFilter::new(i.code, i.when_true, i.when_false, i.operand)).collect();
        SockRef::from(socket).attach_filter(&program)
    }
}
