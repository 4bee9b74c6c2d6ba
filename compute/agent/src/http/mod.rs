//! The toolbox API as HTTP: listening, finding the handler, bodies and errors.

pub mod body;
pub mod connections;
pub mod error;
pub mod queries;
pub mod query;
pub mod request;
pub mod response;
pub mod routes;
pub mod server;
pub mod unread;
pub mod websocket;
