//! What a client sets of a session's environment.

use ws_api::ssh::may_set;

/// Variables that a session may set, and the bytes of each with its name.
const MAX: (usize, usize) = (64, 4_096);

/// Names and values, in the order in which they were set.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Variables(Vec<(String, String)>);

impl Variables {
    /// Takes a variable if sessions may set it.
    pub fn set(&mut self, name: &str, value: &str) -> bool {
        let fits = self.0.len() < MAX.0 && name.len() + value.len() <= MAX.1;
        let valid = !name.contains(['\0', '=']) && !value.contains('\0');
        let allowed = fits && valid && may_set(name);
        if allowed {
            self.0.push((name.to_owned(), value.to_owned()));
        }
        allowed
    }

    pub fn as_slice(&self) -> &[(String, String)] {
        &self.0
    }
}
