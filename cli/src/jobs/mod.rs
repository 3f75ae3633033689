//! What the verbs about jobs share: which jobs are meant, how a job is said to people and to programs, how it is
//! followed, where its pictures go.

pub(crate) mod follow;
pub(crate) mod indices;
pub(crate) mod objects;
pub(crate) mod place;
pub(crate) mod watchers;
pub(crate) mod which;
pub(crate) mod words;
