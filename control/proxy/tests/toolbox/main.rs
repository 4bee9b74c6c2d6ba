//! The way into sandboxes, over real sockets, to agents that the tests write.

mod checks;
mod forwarding;
mod hostile;
mod server;
mod streams;
