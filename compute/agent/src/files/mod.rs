//! Files of the sandbox. Each operation runs on a blocking thread as the sandbox user, so the kernel decides what it
//! may do; the runtime's mounts decide what there is to see.

pub mod bulk_download;
pub mod bulk_upload;
pub mod chunks;
pub mod delete;
pub mod destination;
pub mod download;
pub mod find;
pub mod folder;
pub mod info;
pub mod list;
pub mod multipart;
pub mod overwrite;
pub mod permissions;
pub mod range;
pub mod regular;
pub mod rename;
pub mod replace;
pub mod search;
pub mod upload;
pub mod walk;
pub mod watch;
