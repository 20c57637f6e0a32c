import BitsAPI
import Blobs
import Droplets
import Foundation
import HTTPServer
import Identity
import Images
import Logging
import Logs
import ObjectStore
import Operations
import OperatorAPI
import Records
import Registry
import RegistryAPI
import Rootfs
import Runtime
import ServiceLifecycle
import UnixSignals

/// The server: everything put together, from the directory up to the sockets.
struct Server {
    let directory: DataDirectory
    let settings: ServerSettings
    let lifecycle: LifecyclePrograms

    /// Runs until it is told to stop.
    func run() async throws {
        MemoryLimit.prepareAllocator()
        let logSink = LogSink()
        defer { logSink.flush() }
        let level = settings.logLevel
        let logger = Logger(label: "cistern") { JSONLogHandler(label: $0, level: level, sink: logSink) }
        try DataDirectory.make(directory.path)
        let authenticator = try makeAuthenticator()
        let tls = try makeTLS()
        let store = try FilesystemObjectStore(root: directory.store, logger: logger)
        do {
            try await serve(store, authenticator, tls, logSink, logger)
            try await store.close()
        } catch {
            try? await store.close()
            throw error
        }
    }

    private func serve(
        _ files: FilesystemObjectStore, _ authenticator: Authenticator, _ tls: ServerTLS?, _ logSink: LogSink,
        _ logger: Logger
    ) async throws {
        // This process owns the directory, so what it read stays true.
        let store = CachingObjectStore(ConfirmingObjectStore(MeteredObjectStore(files)))
        let unreadable = UnreadableRecords(logger: logger)
        let quotas = QuotaLedger(storeLimit: settings.storeBytes, interval: settings.countInterval)
        // Changes come from the reloader; what is in force now must be before the first request.
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
        let droplets = DropletCatalog(
            store: store, blobs: blobs, quotas: quotas, conversions: settings.conversions(memory),
            unreadable: unreadable, now: SystemClock.now)
        let rootfs = try await RootfsCatalog(
            store: store, blobs: blobs, unreadable: unreadable, now: SystemClock.now)
        var layers: [Architecture: LifecycleLayer] = [:]
        // Nothing is counted yet, and without these nothing is served.
        for (architecture, launch) in try lifecycle.launch() {
            layers[architecture] = try await LifecycleLayer.install(launch: launch, in: unlimited, store: store)
        }
        let images = DerivedImages(
            droplets: droplets, rootfs: rootfs, recipes: try await RecipeStore(store: store, unreadable: unreadable),
            lifecycle: layers,
            deltas: settings.deltas, signingKeys: settings.signingKeys)

        let registry = Registry(
            store: store, blobs: blobs, quotas: quotas, unreadable: unreadable, now: SystemClock.now)
        let uploads = UploadSessions(registry: registry)
        let background = BackgroundExecutor(threads: 2)
        let counter = UsageCounter(
            quotas: quotas, registry: registry, reading: files, others: { try await droplets.countUsage($0) },
            now: SystemClock.now, executor: background)
        let pins = RunningImages(store: store, unreadable: unreadable, now: SystemClock.now)
        let retention = Retention(images: images, pins: pins, policy: settings.retention, now: SystemClock.now)
        let collections = CollectionRunner(
            collector: GarbageCollector(registry: registry, blobs: blobs, reading: files, clockSkew: 0),
            roots: { images.roots },
            retire: Retirement(
                retention: retention, registry: registry, pins: pins, untagged: settings.untaggedAge,
                grace: settings.collectionGrace, now: SystemClock.now
            ).callAsFunction, executor: background)
        let operations = OperationRunner(
            store: store, unreadable: unreadable, isExclusive: true, describe: { OperatorErrors.describe($0) },
            now: SystemClock.now, logger: logger)
        try await operations.interruptLost()
        let work = StoreOperations(
            operations: operations, collections: collections,
            verifier: Verifier(
                registry: registry, blobs: blobs, reading: files, folders: StoredRecords.folders,
                users: { try await images.users(of: $0) }),
            usage: counter, logger: logger)

        warnOfRedirects(store, logger)
        var routes = Routes.health([storeCheck(files), .memory(memory), .descriptors])
        routes.add(
            RegistryAPI(
                images: images, registry: registry, uploads: uploads, blobs: blobs, redirects: settings.redirects
            ).routes)
        routes.add(BitsAPI(droplets: droplets, settings: settings.bits(memory)).routes)
        routes.add(
            OperatorAPI(
                rootfs: rootfs, droplets: droplets, images: images, pins: pins, retention: retention,
                operations: operations, work: work, settings: settings.operators(trust: directory.trust, memory)
            ).routes)

        let server = HTTPServer(
            listeners: settings.listeners(tls), limits: settings.server, memory: memory, routes: routes,
            authenticator: authenticator, accessLog: AccessLog(sink: logSink), logger: logger
        ) { addresses in
            announce(addresses, logger)
        }
        defer { try? FileManager.default.removeItem(atPath: directory.address) }
        let group = ServiceGroup(
            configuration: .init(
                services: [
                    UploadExpiry(uploads: uploads), BackgroundOperations(operations: operations),
                    ScheduledCollection(work: work, interval: settings.collectionInterval, logger: logger),
                    ScheduledCount(work: work, logger: logger),
                    FirstCount(droplets: droplets, executor: background, logger: logger),
                    makeReloader(authenticator, quotas, tls, logger),
                    server, OperationsEnd(operations: operations),
                ], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        try await group.run()
    }
}
