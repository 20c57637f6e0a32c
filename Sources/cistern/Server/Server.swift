import Bits
import BitsAPI
import Blobs
import Clusters
import Droplets
import Foundation
import HTTPServer
import Identity
import Images
import Logging
import Logs
import Maintenance
import ObjectStore
import Operations
import OperatorAPI
import Records
import Registry
import RegistryAPI
import Rootfs
import Runtime
import ServiceLifecycle
import StagingAPI
import StagingService
import UnixSignals

/// The server: everything put together, from the directory up to the sockets.
struct Server {
    let directory: DataDirectory
    let settings: ServerSettings
    let lifecycle: LifecyclePrograms
    /// Whether to start though the journal lost what it held.
    let acceptsLoss: Bool

    /// Runs until it is told to stop.
    func run() async throws {
        MemoryLimit.prepareAllocator()
        let logSink = LogSink()
        defer { logSink.flush() }
        let level = settings.logLevel
        let logger = Logger(label: "cistern") { JSONLogHandler(label: $0, level: level, sink: logSink) }
        try DataDirectory.make(directory.path)
        let users = try makeAuthenticator()
        let signer = try makeSigner()
        let tls = try makeTLS()
        var options = FilesystemObjectStore.Options()
        options.acceptsLoss = acceptsLoss
        let store = try FilesystemObjectStore(root: directory.store, options: options, logger: logger)
        do {
            try await serve(store, users, signer, tls, logSink, logger)
            try await store.close()
        } catch {
            try? await store.close()
            throw error
        }
    }

    private func serve(
        _ files: FilesystemObjectStore, _ users: Authenticator, _ signer: URLSigner, _ tls: ServerTLS?,
        _ logSink: LogSink, _ logger: Logger
    ) async throws {
        // This process owns the directory, so what it has read stays true.
        let store = CachingObjectStore(ConfirmingObjectStore(MeteredObjectStore(files)))
        let unreadable = UnreadableRecords(logger: logger)
        let quotas = QuotaLedger(storeLimit: settings.storeBytes, interval: settings.countInterval)
        // The reloader delivers changes; the quotas of now must be in force before the first request.
        quotas.replace(try Policy(path: FirstUsers.Paths(data: directory.path).policy).quotas.map(Quota.init))
        let unlimited = BlobStore(
            store: store, now: SystemClock.now, grace: settings.collectionGrace, unreadable: unreadable)
        let blobs =
            settings.storeBytes == nil
            ? unlimited
            : BlobStore(
                store: store, now: SystemClock.now, grace: settings.collectionGrace, quotas: quotas,
                unreadable: unreadable)
        let memory = Budget.memory(settings.memoryBytes)
        let events = Events()
        let droplets = DropletCatalog(
            store: store, blobs: blobs, quotas: quotas, conversions: settings.conversions(memory),
            unreadable: unreadable, now: SystemClock.now)
        let rootfs = try await RootfsCatalog(
            store: store, blobs: blobs, unreadable: unreadable, logger: logger, events: events,
            now: SystemClock.now)
        try await rootfs.migrate()
        let builds = try await BuildRootfsCatalog(
            store: store, blobs: blobs, unreadable: unreadable, now: SystemClock.now)
        var layers: [Architecture: LifecycleLayer] = [:]
        // The lifecycle layers are installed without the limit: the store's content is not counted yet, and no image
        // can be served without them.
        for (architecture, launch) in try lifecycle.launch() {
            layers[architecture] = try await LifecycleLayer.install(launch: launch, in: unlimited, store: store)
        }
        let images = DerivedImages(
            droplets: droplets, rootfs: rootfs, recipes: try await RecipeStore(store: store, unreadable: unreadable),
            lifecycle: layers,
            deltas: settings.deltas, signingKeys: settings.signingKeys, registry: settings.publicAddress)

        let registry = Registry(store: store, blobs: blobs, quotas: quotas, now: SystemClock.now)
        let uploads = UploadSessions(registry: registry)
        let bits = BitsCatalog(
            store: store, blobs: blobs, quotas: quotas, limits: settings.bitsLimits(memory), unreadable: unreadable,
            now: SystemClock.now)
        let pins = RunningImages(store: store, unreadable: unreadable, events: events, now: SystemClock.now)
        let clusters = ClusterCatalog(
            store: store, pins: pins, unreadable: unreadable, events: events, now: SystemClock.now)
        let authenticator = ClusterAuthenticator(users) { name, secret in
            guard let name = try? ClusterName(name) else { return nil }
            return try await clusters.use(of: secret, for: name).map { $0 == .agent }
        }
        let retention = Retention(
            images: images, pins: pins, clusters: clusters, policy: settings.retention, now: SystemClock.now)
        let operations = OperationRunner(
            store: store, unreadable: unreadable, isExclusive: true, describe: { OperatorErrors.describe($0) },
            now: SystemClock.now, logger: logger)
        try await operations.interruptLost()
        let bitsUploads = BitsUploads(
            catalog: bits, operations: operations, listener: try settings.controller(), now: SystemClock.now,
            logger: logger)
        let staging = try makeStaging(store, unreadable, rootfs, builds, bits, events, logger)
        let background = BlockingExecutor(name: "background", threads: 2, givesWay: true)
        let work = StoreMaintenance(
            operations: operations,
            owners: ContentOwners(
                registry: registry, images: images, builds: builds, bits: bits,
                others: [StagingTaskRecords()]),
            retention: retention, blobs: blobs, quotas: quotas, reading: files, executor: background,
            now: SystemClock.now, logger: logger)

        warnOfRedirects(store, logger)
        var routes = Routes.health(
            [storeCheck(files), .memory(memory), .descriptors] + (tls.map { [$0.readiness] } ?? []))
        routes.add(
            RegistryAPI(
                images: images, registry: registry, uploads: uploads, blobs: blobs, redirects: settings.redirects,
                tokens: settings.givesTokens ? TokenRealm(publicURL: settings.publicURL) : nil
            ).routes)
        if settings.givesTokens { routes.add(TokenAPI(authenticator: authenticator).routes) }
        let stagingRoutes = StagingAPI(tasks: staging).routes
        routes.add(
            BitsAPI(
                droplets: droplets, uploads: bitsUploads, signer: signer, settings: settings.bits(memory),
                elsewhere: stagingRoutes
            ).routes)
        routes.add(stagingRoutes)
        routes.add(
            OperatorAPI(
                rootfs: rootfs, builds: builds, droplets: droplets, images: images, pins: pins, clusters: clusters,
                retention: retention,
                operations: operations, others: staging.map { StagingOperations(tasks: $0) }, work: work,
                events: events,
                settings: settings.operators(trust: directory.trust, memory)
            ).routes)

        let server = HTTPServer(
            listeners: settings.listeners(tls), limits: settings.server, memory: memory, routes: routes,
            authenticator: authenticator, signer: signer, accessLog: AccessLog(sink: logSink), logger: logger
        ) { addresses in
            announce(addresses, logger)
        }
        defer { try? FileManager.default.removeItem(atPath: directory.address) }
        let group = ServiceGroup(
            configuration: .init(
                services: [
                    BackgroundOperations(operations: operations), BackgroundUploads(uploads: bitsUploads),
                    StagingRuns(tasks: staging),
                    Schedules(
                        work: work, uploads: uploads, droplets: droplets,
                        collectionInterval: settings.collectionInterval, executor: background, logger: logger),
                    makeReloader(users, signer, quotas, tls, logger),
                    server, EventTicks(events: events), OperationsEnd(operations: operations),
                ], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        try await group.run()
    }
}

/// Runs operations, the long work that clients ask for.
struct BackgroundOperations: Service {
    let operations: OperationRunner

    func run() async throws {
        await withGracefulShutdownHandler {
            await operations.run()
        } onGracefulShutdown: {
            operations.stop()
        }
        // The work ends (`OperationsEnd`) before it is this service's turn to stop, and a service that returns before
        // its turn brings all others down.
        try? await gracefulShutdown()
    }
}

/// Finishes uploads of bits whose clients don't wait.
struct BackgroundUploads: Service {
    let uploads: BitsUploads

    func run() async throws {
        await cancelWhenGracefulShutdown { await uploads.run() }
    }
}

/// Keeps the connections of those awake who follow events, and ends them as soon as the server is asked to stop.
struct EventTicks: Service {
    let events: Events

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while (try? await Task.sleep(for: .seconds(15))) != nil { events.tick() }
        }
        events.close()
    }
}

/// Cancels long work as soon as the server is asked to stop. Services are stopped one after the other, the last one first:
/// work ends while transfers that are under way still have their time.
struct OperationsEnd: Service {
    let operations: OperationRunner

    func run() async throws {
        try? await gracefulShutdown()
        operations.stop()
    }
}
