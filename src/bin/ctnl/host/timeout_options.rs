//! What a command adds to the timeouts that the kernel reports: the operator's options, the lab, and the
//! notes of written timeouts.

use ctnl::age::{PreviousTimeout, TimeoutContext};
use ctnl::host::Host;
use ctnl::netlink::{Connection, Error, Netns};

use super::timeout_notes::TimeoutNotes;

/// The variable with the cookie of the lab's network namespace (`SO_NETNS_COOKIE`, Linux 5.14): its
/// entries have timeouts that may be trusted.
pub const LAB_COOKIE: &str = "CTNL_LAB_NETNS";

/// The options that idle times depend on.
#[derive(Debug, Clone, Default)]
pub struct TimeoutOptions {
    /// `--base-timeout`.
    pub previous_timeouts: Vec<PreviousTimeout>,
    /// `--trust-netlink-timeouts`.
    pub trust_netlink_timeouts: bool,
    /// `--confirm-idle`: two samples are compared.
    pub confirms_idle: bool,
}

impl TimeoutOptions {
    /// Reads the settings of the connection's namespace.
    ///
    /// # Errors
    /// As [`TimeoutContext::read`].
    pub fn read(&self, connection: &mut Connection, host: &Host) -> Result<TimeoutContext, Error> {
        let notes = TimeoutNotes::of(connection.netns(), host);
        self.read_with(connection, host, &notes)
    }

    /// As [`TimeoutOptions::read_with`], after `before` was read of the same namespace. Where this process may not enter
    /// it again, what only files have is that of before.
    ///
    /// # Errors
    /// An error of the kernel.
    pub fn read_again(
        &self,
        connection: &mut Connection,
        host: &Host,
        notes: &TimeoutNotes,
        before: &TimeoutContext,
    ) -> Result<TimeoutContext, Error> {
        match self.read_with(connection, host, notes) {
            Err(Error::Netns { .. }) => {
                let mut context = before.read_again_over_netlink(connection)?;
                notes.read_into(&mut context);
                Ok(context)
            }
            read => read,
        }
    }

    /// As [`TimeoutOptions::read`], with the `notes` of the connection's namespace.
    ///
    /// # Errors
    /// As [`TimeoutContext::read`].
    pub fn read_with(
        &self,
        connection: &mut Connection,
        host: &Host,
        notes: &TimeoutNotes,
    ) -> Result<TimeoutContext, Error> {
        let previous = self.previous_timeouts.clone();
        let mut context = TimeoutContext::read(connection, &host.netfilter(), &host.kernel(), previous)?;
        let netns = connection.netns();
        context.trust_netlink_timeouts = self.trust_netlink_timeouts || {
            let environment = std::env::var(LAB_COOKIE).ok();
            let cookie = environment.is_some().then(|| netns.run(Netns::current_cookie)).transpose()?;
            is_lab(environment.as_deref(), cookie.and_then(Result::ok).flatten())
        };
        notes.remove_expired();
        notes.read_into(&mut context);
        Ok(context)
    }
}

/// Whether the namespace with this cookie is that of the lab that set `environment`. Without cookies
/// (before Linux 5.14) it never is: an inode number can be reused.
fn is_lab(environment: Option<&str>, cookie: Option<u64>) -> bool {
    let lab = environment.and_then(|text| text.parse().ok());
    lab.is_some() && lab == cookie
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_namespace_with_the_cookie_in_the_environment_is_the_lab() {
        assert!(is_lab(Some("4097"), Some(4097)));
        for (environment, cookie) in [
            (Some("4097"), Some(1)),
            (Some("4097"), None),
            (None, None),
            (None, Some(1)),
            (Some(""), None),
            (Some("x"), None),
        ] {
            assert!(!is_lab(environment, cookie), "{environment:?} {cookie:?}");
        }
    }
}
