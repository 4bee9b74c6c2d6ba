//! The points.

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal,)*) => {
        /// A step after which a crash leaves something behind; the names say what was just done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Point {
            $($(#[$doc])* $point,)*
        }

        impl Point {
            /// Every point of the program.
            pub const ALL: &'static [Self] = &[$(Self::$point,)*];

            /// As tests call it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }
        }
    };
}

points! {
    // The start of a server.
    HostLocked = "host.locked",
    HostClaimed = "host.claimed",
    /// A new pool, not yet under its name.
    PoolMade = "pool.made",
    HostDisks = "host.disks",
    /// The agent's program, not yet under its name.
    AgentWritten = "agent.written",
    HostPrepared = "host.prepared",
    /// One sandbox's record agrees with what runs.
    AdoptSettled = "adopt.settled",
    /// One half-made sandbox's cgroups are gone.
    AdoptCleared = "adopt.cleared",
    /// The same one's disk is gone.
    AdoptDisk = "adopt.disk",
    AdoptSwept = "adopt.swept",
    PolicyInstalled = "policy.installed",
    /// One sandbox's state in the store is being made to agree with the runner.
    SettleFound = "settle.found",

    // What is prepared ahead.
    SlotNamespaces = "slot.namespaces",
    SlotConnected = "slot.connected",
    SpareCreated = "spare.created",
    SpareMounted = "spare.mounted",
    /// The tree that a new template gets.
    TemplateTree = "template.tree",
    /// A new template, not yet under its name.
    TemplateMade = "template.made",

    // Create and start.
    CreateInserted = "create.inserted",
    BootDirectory = "boot.directory",
    /// A record, not yet under its name.
    RecordWritten = "record.written",
    BootRecorded = "boot.recorded",
    BootDisk = "boot.disk",
    /// Its network rule is in force; others of its group can't reach it yet.
    LinkConfined = "link.confined",
    BootConfined = "boot.confined",
    BootCgroup = "boot.cgroup",
    BootControl = "boot.control",
    /// A layer of certificates, not yet under its name.
    LayerPlaced = "layer.placed",
    BootOverlay = "boot.overlay",
    BootLaunched = "boot.launched",
    BootReady = "boot.ready",
    BootRunning = "boot.running",
    /// The runner could not make it; what it made is still there.
    CreateFailed = "create.failed",
    /// The store says `destroying` of one that could not be made.
    CreateUndone = "create.undone",
    CreateMade = "create.made",
    CreateStarted = "create.started",
    StartMarked = "start.marked",
    StartFailed = "start.failed",
    StartMade = "start.made",

    // Stop, and an end that nobody asked for.
    StopMarked = "stop.marked",
    StopEnded = "stop.ended",
    /// Its links are gone, its rule is not.
    LinkLeft = "link.left",
    ReleaseLifted = "release.lifted",
    DiskParked = "disk.parked",
    ReleaseRecorded = "release.recorded",
    ReleaseCgroup = "release.cgroup",
    StopDone = "stop.done",
    /// The disk that was kept for a start is given to be unmounted.
    DiskClosed = "disk.closed",
    ExitObserved = "exit.observed",

    // Changes.
    ResizeRecorded = "resize.recorded",
    ResizeLimited = "resize.limited",
    /// The kernel has let go of the disk that is to grow.
    GrowSettled = "grow.settled",
    GrowLengthened = "grow.lengthened",
    GrowChecked = "grow.checked",
    /// A program worked on the disk, whose image still has the id of that program.
    DiskHanded = "disk.handed",
    ResizeApplied = "resize.applied",
    ResizeDone = "resize.done",
    ConfineReplaced = "confine.replaced",
    ConfineRecorded = "confine.recorded",
    ConfineDone = "confine.done",

    // Delete.
    WarmMade = "warm.made",
    DestroyMarked = "destroy.marked",
    DestroyRecorded = "destroy.recorded",
    DestroyDisk = "destroy.disk",
    DestroyMoved = "destroy.moved",
    DestroyFiles = "destroy.files",
    DestroyDone = "destroy.done",
    DestroyForgotten = "destroy.forgotten",
}
