//! What can be wrong with a program, other than its answers.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::address::NodeIndex;

/// How much of a line is shown.
const SHOWN_MAX: usize = 500;

/// A run that could not begin.
#[derive(Debug, Error)]
pub enum StartError {
    /// The program cannot be run.
    #[error("cannot run {}: {error}\nIs it there, and may it be executed (chmod +x)? A script needs a first line such \
             as `#!/usr/bin/env python3`.", program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// What nodes say cannot be kept.
    #[error("cannot write {}: {error}", path.display())]
    Logs {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// The system gives no thread to listen with.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// What was wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Complaint {
    /// It has not answered what begins every run.
    #[error(
        "has not answered `{request}` within {} s. A node reads its standard input line by line, and answers with `{request}_ok`, \
         with the request's msg_id as in_reply_to, and flush its standard output",
        within.as_secs_f64()
    )]
    Silent {
        /// `init` or `topology`.
        request: &'static str,
        /// How long it had.
        within: Duration,
    },
    /// It refused what begins every run.
    #[error("answered `{request}` with {answer}")]
    Refused {
        /// `init` or `topology`.
        request: &'static str,
        /// The body.
        answer: String,
    },
    /// It is no more.
    #[error("ended during the run: {how}")]
    Ended {
        /// Its exit status, in words.
        how: String,
    },
    /// It was killed, and cannot be started again.
    #[error("was killed as you asked, and then could not be started again: {why}")]
    Gone {
        /// Why not.
        why: String,
    },
    /// It wrote what is no message.
    #[error(
        "wrote a line that is no message: {why}. Only messages may go to the standard output; what is for people goes to the standard error"
    )]
    NoMessage {
        /// What is wrong with it.
        why: String,
    },
    /// It wrote in the name of another.
    #[error("wrote a message in the name of `{src}`")]
    Impostor {
        /// The name.
        src: String,
    },
    /// It wrote to somebody who isn't there.
    #[error("sent a message to `{dest}`, who isn't there. There are {there}")]
    NobodyThere {
        /// The name.
        dest: String,
        /// Who is there.
        there: String,
    },
    /// It answered what cannot be an answer.
    #[error("gave an answer to `{request}` that cannot be one: {why}")]
    WrongAnswer {
        /// The type of the request.
        request: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A node that doesn't keep to the protocol. It ends the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFault {
    /// Which node.
    pub node: NodeIndex,
    /// What was wrong.
    pub complaint: Complaint,
    /// The line that was wrong, if one was.
    pub line: Option<String>,
    /// The last lines of its standard error.
    pub last_words: Vec<String>,
}

impl fmt::Display for NodeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}.", self.node, self.complaint)?;
        if let Some(line) = &self.line {
            let shown: String = line.chars().take(SHOWN_MAX).collect();
            let dots = if shown.len() < line.len() { " ..." } else { "" };
            write!(f, "\nThe line: {shown}{dots}")?;
        }
        if self.last_words.is_empty() {
            return write!(f, "\nIts standard error was empty.");
        }
        write!(f, "\nThe last lines of its standard error:")?;
        for line in &self.last_words {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}
