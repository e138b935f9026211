//! What can go wrong when somebody asks something of the controller.

use thiserror::Error;

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ControlError {
    /// The asker's fault: there is no such node.
    #[error("node \"{0}\" does not exist")]
    UnknownNode(String),
    /// The asker's fault: it cannot be done as things are.
    #[error("{0}")]
    Refused(String),
    /// Ours, passing: the controller did not answer in time.
    #[error("the controller did not answer in time")]
    TimedOut,
    /// Ours, lasting: the controller has stopped.
    #[error("the controller has stopped")]
    Stopped,
}

impl ControlError {
    /// Asking again later may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, ControlError::TimedOut)
    }

    /// The SQLSTATE an SQL-speaking face should answer with (PostgreSQL documentation, appendix A).
    pub fn sqlstate(&self) -> &'static str {
        match self {
            ControlError::UnknownNode(_) => "42704",
            ControlError::Refused(_) => "55000",
            ControlError::TimedOut => "57P03",
            ControlError::Stopped => "57P01",
        }
    }
}
