//! A runner that only remembers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use sebring_types::runner::{
    AgentStream, Egress, ExitCause, Held, Observation, Observed, Room, RunnerInfo, SandboxSpec, StopMode, Storage,
};
use sebring_types::{Denial, Isolation, Resources, Runner, RunnerError, SandboxId, SnapshotId, SnapshotManifest};
use tokio::io::DuplexStream;
use tokio::sync::{Mutex as AsyncMutex, mpsc};

/// The one snapshot there is.
pub const SNAPSHOT: &str = "sebring";

/// A call of the runner that a test can spoil.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    Create,
    Start,
    Stop,
    Destroy,
    Resize,
    SetEgress,
    Connect,
}

type Spoil = Arc<dyn Fn() -> RunnerError + Send + Sync>;

#[derive(Default)]
struct State {
    held: HashMap<SandboxId, Observed>,
    specs: HashMap<SandboxId, SandboxSpec>,
    /// None: it never answers.
    spoilt: HashMap<Call, Option<Spoil>>,
    calls: Vec<(Call, SandboxId)>,
    impostor: Option<Impostor>,
}

/// Answers in an agent's place.
type Impostor = Arc<dyn Fn(DuplexStream) + Send + Sync>;

/// Holds sandboxes in memory; each one's agent is the given router.
pub struct MemoryRunner {
    state: Mutex<State>,
    agent: Router,
    snapshot: SnapshotManifest,
    observed: mpsc::UnboundedSender<Observation>,
    observations: AsyncMutex<mpsc::UnboundedReceiver<Observation>>,
}

impl MemoryRunner {
    /// A runner whose agents are `agent`.
    pub fn new(agent: Router) -> Arc<Self> {
        let (observed, observations) = mpsc::unbounded_channel();
        let snapshot = SnapshotManifest {
            id: SnapshotId::generate(),
            name: SNAPSHOT.to_owned(),
            size: 3 << 29,
            created_at: Timestamp::UNIX_EPOCH,
            entrypoint: Vec::new(),
            env: BTreeMap::new(),
            user: "daytona".to_owned(),
            work_dir: None,
            architecture: "x86_64".to_owned(),
            resources: Resources::default(),
            isolation: None,
        };
        let observations = AsyncMutex::new(observations);
        Arc::new(Self { state: Mutex::default(), agent, snapshot, observed, observations })
    }

    /// What it holds of a sandbox.
    pub fn held(&self, id: SandboxId) -> Option<Observed> {
        self.state().held.get(&id).copied()
    }

    /// Puts a sandbox there.
    pub fn hold(&self, id: SandboxId, observed: Observed) {
        self.state().held.insert(id, observed);
    }

    /// Puts a sandbox there with all that a runner knows of it.
    pub fn hold_as(&self, spec: SandboxSpec, observed: Observed) {
        self.hold(spec.id, observed);
        self.state().specs.insert(spec.id, spec);
    }

    /// What a sandbox was created with.
    pub fn spec(&self, id: SandboxId) -> Option<SandboxSpec> {
        self.state().specs.get(&id).cloned()
    }

    /// Lets a call fail from now on.
    pub fn fail(&self, call: Call, error: impl Fn() -> RunnerError + Send + Sync + 'static) {
        self.state().spoilt.insert(call, Some(Arc::new(error)));
    }

    /// Lets a call never answer from now on.
    pub fn hang(&self, call: Call) {
        self.state().spoilt.insert(call, None);
    }

    /// Lets a call work again.
    pub fn mend(&self, call: Call) {
        self.state().spoilt.remove(&call);
    }

    /// From now on whatever connects to an agent gets this, byte for byte.
    pub fn impersonate(&self, impostor: impl Fn(DuplexStream) + Send + Sync + 'static) {
        self.state().impostor = Some(Arc::new(impostor));
    }

    /// How often a call was made.
    pub fn count(&self, call: Call) -> usize {
        self.state().calls.iter().filter(|(made, _)| *made == call).count()
    }

    /// Ends a sandbox from inside.
    pub fn exit(&self, id: SandboxId, reason: &str, cause: ExitCause) {
        self.hold(id, Observed::Stopped);
        self.observed.send(Observation::Exited { id, reason: reason.to_owned(), cause }).expect("the runner listens");
    }

    /// Lets a sandbox run out of memory.
    pub fn exhaust_memory(&self, id: SandboxId) {
        self.observed.send(Observation::OutOfMemory { id }).expect("the runner listens");
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn begin(&self, call: Call, id: SandboxId) -> Result<(), RunnerError> {
        let spoilt = {
            let mut state = self.state();
            state.calls.push((call, id));
            state.spoilt.get(&call).cloned()
        };
        match spoilt {
            None => Ok(()),
            Some(Some(error)) => Err(error()),
            Some(None) => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Runner for MemoryRunner {
    async fn info(&self) -> Result<RunnerInfo, RunnerError> {
        Ok(RunnerInfo {
            name: "box".to_owned(),
            cpus: 4,
            memory: Room { size: 8 << 30, free: 6 << 30 },
            disk: Room { size: 100 << 30, free: 75 << 30 },
            storage: Storage::Reflink,
            isolation: Isolation::System,
            cgroups: ["v2"].into(),
            running: self.state().held.values().filter(|held| **held == Observed::Running).count(),
            snapshots: 1,
            since: Timestamp::UNIX_EPOCH,
        })
    }

    async fn snapshots(&self) -> Result<Vec<SnapshotManifest>, RunnerError> {
        Ok(vec![self.snapshot.clone()])
    }

    async fn inventory(&self) -> Vec<Held> {
        let state = self.state();
        let held = |(id, observed): (&SandboxId, &Observed)| {
            let spec = state.specs.get(id);
            let resources = spec.map_or_else(Resources::default, |spec| spec.resources);
            let egress = spec.map_or(Egress::Open, |spec| spec.egress.clone());
            Held { id: *id, observed: *observed, resources, egress }
        };
        state.held.iter().map(held).collect()
    }

    async fn create(&self, spec: SandboxSpec) -> Result<(), RunnerError> {
        self.begin(Call::Create, spec.id).await?;
        let mut state = self.state();
        state.held.insert(spec.id, Observed::Running);
        state.specs.insert(spec.id, spec);
        Ok(())
    }

    async fn start(&self, id: SandboxId) -> Result<(), RunnerError> {
        self.begin(Call::Start, id).await?;
        let mut state = self.state();
        let held = state.held.get_mut(&id).ok_or(RunnerError::NotFound)?;
        *held = Observed::Running;
        Ok(())
    }

    async fn stop(&self, id: SandboxId, _: StopMode) -> Result<(), RunnerError> {
        self.begin(Call::Stop, id).await?;
        let mut state = self.state();
        let held = state.held.get_mut(&id).ok_or(RunnerError::NotFound)?;
        *held = Observed::Stopped;
        Ok(())
    }

    async fn destroy(&self, id: SandboxId) -> Result<(), RunnerError> {
        self.begin(Call::Destroy, id).await?;
        self.state().held.remove(&id);
        Ok(())
    }

    async fn resize(&self, id: SandboxId, resources: Resources) -> Result<(), RunnerError> {
        self.begin(Call::Resize, id).await?;
        self.state().specs.get_mut(&id).ok_or(RunnerError::NotFound)?.resources = resources;
        Ok(())
    }

    async fn set_egress(&self, id: SandboxId, egress: Egress) -> Result<(), RunnerError> {
        self.begin(Call::SetEgress, id).await?;
        self.state().specs.get_mut(&id).ok_or(RunnerError::NotFound)?.egress = egress;
        Ok(())
    }

    async fn denials(&self, id: SandboxId) -> Result<Vec<Denial>, RunnerError> {
        self.held(id).ok_or(RunnerError::NotFound)?;
        Ok(Vec::new())
    }

    async fn connect(&self, id: SandboxId) -> Result<Box<dyn AgentStream>, RunnerError> {
        self.begin(Call::Connect, id).await?;
        if self.held(id) != Some(Observed::Running) {
            return Err(RunnerError::NotFound);
        }
        let (near, far) = tokio::io::duplex(64 * 1024);
        if let Some(impostor) = self.state().impostor.clone() {
            impostor(far);
            return Ok(Box::new(near));
        }
        let service = TowerToHyperService::new(self.agent.clone());
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            // A client that goes away is no failure of a test.
            let _ = server.serve_connection_with_upgrades(TokioIo::new(far), service).await;
        });
        Ok(Box::new(near))
    }

    async fn observe(&self) -> Option<Observation> {
        self.observations.lock().await.recv().await
    }
}
