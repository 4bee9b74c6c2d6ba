//! Socket.IO at `/api/socket.io`: state changes, pushed.
//!
//! A client sends `{"token": API key}` when it connects and hears from then on of every sandbox of the key's
//! organization; it subscribes to nothing. Sandboxes name the URL of their toolbox, which depends on the host that
//! the client connected to, so each pair of organization and host is a room of its own.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sebring_events::{Event, EventKind, Events, RecvError};
use sebring_store::Secret;
use sebring_types::OrganizationId;
use serde::{Deserialize, Serialize};
use socketioxide::extract::{Data, SocketRef};
use socketioxide::handler::ConnectHandler;
use socketioxide::layer::SocketIoLayer;
use socketioxide::{SocketIo, TransportType};

use crate::app::App;
use crate::audience::Audience;
use crate::public_url::PublicUrl;
use crate::wire::Sandbox;

/// Packets that wait for a slow client; what comes on top is lost to it.
const BACKLOG: usize = 1024;

/// How long a client may take to show its key.
const HELLO: Duration = Duration::from_secs(15);
/// Bytes; clients send nothing but their key.
const LONGEST_PACKET: u64 = 64 * 1024;

/// Answers Socket.IO and passes everything else on.
pub(crate) fn layer(app: App, events: Events) -> SocketIoLayer {
    let (layer, io) = SocketIo::builder()
        .req_path("/api/socket.io")
        .transports([TransportType::Websocket])
        .max_buffer_size(BACKLOG)
        .connect_timeout(HELLO)
        .max_payload(LONGEST_PACKET)
        .build_layer();
    let audience = app.audience.clone();
    let (admitted, joined) = (audience.rooms.clone(), audience.rooms.clone());
    // Again, for the room may have been closed as empty between admission and connection.
    let connected = async move |socket: SocketRef| {
        if let Some(room) = socket.extensions.get::<Room>() {
            joined.note(room);
        }
    };
    let admit = async move |socket: SocketRef, Data(hello): Data<Hello>| admit(&app, &admitted, &socket, hello).await;
    io.ns("/", connected.with(admit));
    tokio::spawn(forward(io, audience, events));
    layer
}

/// What a client says first.
#[derive(Debug, Deserialize)]
struct Hello {
    token: String,
}

/// Why a client is not admitted; the text reaches it.
#[derive(Debug)]
struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unauthorized")
    }
}

async fn admit(app: &App, rooms: &Rooms, socket: &SocketRef, hello: Hello) -> Result<(), Refused> {
    let request = socket.req_parts();
    let principal = app.authenticator.visitor(&Secret::from(hello.token), request).await.map_err(|_| Refused)?;
    let organization = principal.organization;
    if named_organization(request.uri.query()).is_some_and(|named| named != organization.to_string()) {
        return Err(Refused);
    }
    let room = Room { organization, url: PublicUrl::of(&app.config, &request.headers) };
    socket.join(room.name());
    socket.extensions.insert(room.clone());
    rooms.note(room);
    Ok(())
}

fn named_organization(query: Option<&str>) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Query {
        organization_id: Option<String>,
    }
    serde_html_form::from_str::<Query>(query?).ok()?.organization_id.filter(|id| !id.is_empty())
}

/// Clients of one organization that came to one address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Room {
    organization: OrganizationId,
    url: PublicUrl,
}

impl Room {
    fn name(&self) -> String {
        format!("{} {}", self.organization, self.url.root())
    }
}

/// The rooms that somebody is, or was lately, in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rooms {
    open: Arc<Mutex<HashMap<OrganizationId, BTreeSet<Room>>>>,
}

impl Rooms {
    fn note(&self, room: Room) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.entry(room.organization).or_default().insert(room);
    }

    pub fn of(&self, organization: OrganizationId) -> Vec<Room> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(&organization).into_iter().flatten().cloned().collect()
    }

    fn close(&self, room: &Room) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rooms) = open.get_mut(&room.organization) {
            rooms.remove(room);
            if rooms.is_empty() {
                open.remove(&room.organization);
            }
        }
    }
}

/// Passes every event on to those it concerns.
async fn forward(io: SocketIo, audience: Audience, events: Events) {
    let mut events = events.subscribe();
    loop {
        match events.recv().await {
            Ok(event) => {
                for room in audience.rooms.of(event.organization()) {
                    emit(&io, &audience.rooms, &room, &event).await;
                }
                audience.told(&event).await;
            }
            // The SDKs look for themselves from time to time.
            Err(RecvError::Lagged(lost)) => tracing::warn!(lost, "Socket.IO clients missed events"),
            Err(RecvError::Closed) => return,
        }
    }
}

async fn emit(io: &SocketIo, rooms: &Rooms, room: &Room, event: &Event) {
    if io.within(room.name()).sockets().is_empty() {
        rooms.close(room);
        return;
    }
    let clients = io.to(room.name());
    let sandbox = Sandbox::new((*event.sandbox).clone(), &room.url);
    let sent = match event.kind {
        EventKind::Created => clients.emit("sandbox.created", &sandbox).await,
        EventKind::StateUpdated { old, new } => {
            let update = StateUpdate { sandbox, old_state: old.as_str(), new_state: new.as_str() };
            clients.emit("sandbox.state.updated", &update).await
        }
        EventKind::OutOfMemory => clients.emit("sandbox.out-of-memory", &OutOfMemory { sandbox }).await,
    };
    if let Err(error) = sent {
        tracing::debug!(%error, "some Socket.IO client did not take an event");
    }
}

/// `sandbox.state.updated`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StateUpdate {
    sandbox: Sandbox,
    old_state: &'static str,
    new_state: &'static str,
}

/// `sandbox.out-of-memory`: an event of our own, which the SDKs pass over.
#[derive(Debug, Serialize)]
struct OutOfMemory {
    sandbox: Sandbox,
}
