//! What is wrong with settings, all of it at once.

use std::fmt;

/// At least one line that says where something is wrong, what, and what to do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Problems(Vec<String>);

impl Problems {
    /// The only one.
    pub fn one(problem: String) -> Self {
        Self(vec![problem])
    }

    pub(crate) fn push(&mut self, problem: String) {
        self.0.push(problem);
    }

    /// `good` if there is none.
    pub(crate) fn or<T>(self, good: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(good) } else { Err(self) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Problems {}
