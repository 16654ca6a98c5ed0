//! Classic BPF programs that filter the datagrams of a socket before they are queued.

use std::io;
use std::os::fd::AsFd;

use socket2::{SockFilter, SockRef};

/// One instruction (`struct sock_filter`) of a machine with an accumulator and an index
/// register.
#[doc(alias = "sock_filter")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation (`code`).
    pub code: u16,
    /// Instructions to skip where a comparison is true (`jt`).
    pub when_true: u8,
    /// Instructions to skip where it is false (`jf`).
    pub when_false: u8,
    /// Operand (`k`).
    pub operand: u32,
}

/// The operations of `linux/bpf_common.h` that are needed. Loads convert from network byte order.
impl Instruction {
    /// Loads `value` into the accumulator.
    #[must_use]
    pub fn load(value: u32) -> Self {
        Self::plain(0x00, value)
    }

    /// Loads the byte at `offset` into the accumulator.
    #[must_use]
    pub fn load_byte(offset: u32) -> Self {
        Self::plain(0x30, offset)
    }

    /// Loads `size` bytes at index + `offset` into the accumulator.
    #[must_use]
    pub fn load_indexed(size: Size, offset: u32) -> Self {
        let code = match size {
            Size::Word => 0x40,
            Size::Half => 0x48,
            Size::Byte => 0x50,
        };
        Self::plain(code, offset)
    }

    /// Masks the accumulator with `mask`.
    #[must_use]
    pub fn mask(mask: u32) -> Self {
        Self::plain(0x54, mask)
    }

    /// Loads `value` into the index register.
    #[must_use]
    pub fn load_index(value: u32) -> Self {
        Self::plain(0x01, value)
    }

    /// Copies the accumulator into the index register.
    #[must_use]
    pub fn index_from_accumulator() -> Self {
        Self::plain(0x07, 0)
    }

    /// Searches the attributes from the offset in the accumulator for the number in the index
    /// register and loads the offset of the attribute, or 0, into the accumulator.
    #[doc(alias = "SKF_AD_NLATTR")]
    #[must_use]
    pub fn find_attribute() -> Self {
        Self::plain(0x20, ANCILLARY + 12)
    }

    /// Searches the nest at the offset in the accumulator for the number in the index register and
    /// loads the offset of the attribute, or 0, into the accumulator.
    #[doc(alias = "SKF_AD_NLATTR_NEST")]
    #[must_use]
    pub fn find_nested() -> Self {
        Self::plain(0x20, ANCILLARY + 16)
    }

    /// Skips `when_true` instructions where the accumulator is equal to `value`, else `when_false`.
    #[must_use]
    pub fn if_equal(value: u32, when_true: u8, when_false: u8) -> Self {
        Instruction { code: 0x15, when_true, when_false, operand: value }
    }

    /// Skips `when_true` instructions where the accumulator is greater than `value`, else
    /// `when_false`.
    #[must_use]
    pub fn if_above(value: u32, when_true: u8, when_false: u8) -> Self {
        Instruction { code: 0x25, when_true, when_false, operand: value }
    }

    /// Skips `when_true` instructions where the accumulator is `value` or greater, else
    /// `when_false`.
    #[must_use]
    pub fn if_at_least(value: u32, when_true: u8, when_false: u8) -> Self {
        Instruction { code: 0x35, when_true, when_false, operand: value }
    }

    /// Ends the program: the whole datagram is queued.
    #[must_use]
    pub fn accept() -> Self {
        Self::plain(0x06, u32::MAX)
    }

    /// Ends the program: the datagram is discarded.
    #[must_use]
    pub fn reject() -> Self {
        Self::plain(0x06, 0)
    }

    fn plain(code: u16, operand: u32) -> Self {
        Instruction { code, when_true: 0, when_false: 0, operand }
    }
}

/// `SKF_AD_OFF`: loads from here on are ancillary operations.
const ANCILLARY: u32 = (-0x1000_i32).cast_unsigned();

/// The size of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// 1 byte.
    Byte,
    /// 2 bytes.
    Half,
    /// 4 bytes.
    Word,
}

/// A program for the kernel. Datagrams that it rejects are not queued and not counted as
/// dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketFilter {
    instructions: Vec<Instruction>,
}

impl SocketFilter {
    /// A program of these instructions, which the kernel verifies when it is attached.
    #[must_use]
    pub fn new(instructions: Vec<Instruction>) -> Self {
        SocketFilter { instructions }
    }

    /// The instructions.
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
