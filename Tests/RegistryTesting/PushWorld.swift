package import Blobs
package import Maintenance
package import OCI
package import ObjectStore
package import Registry
import Synchronization
import TestSupport

/// A registry over memory whose calls of the store are written down and can be made to fail, and whose clocks are set
/// by hand.
package struct PushWorld {
    package static let second: Int64 = 1_000_000_000
    package static let grace: Int64 = 3600 * second
    package static let lifetime: Duration = .seconds(3600)

    package let memory: MemoryObjectStore
    package let store: InstrumentedObjectStore
    package let calls = Calls()
    package let blobs: BlobStore
    package let registry: Registry
    package let uploads: UploadSessions
    package let name: RepositoryName
    private let sizes = KnownSizes()
    private let time = Time()

    package init(limits: UploadSessions.Limits = UploadSessions.Limits()) throws {
        let (calls, time) = (calls, time)
        memory = MemoryObjectStore(now: { time.wall })
        store = InstrumentedObjectStore(memory) { (operation, key) throws(ObjectStoreError) in
            try calls.make(operation, key)
        } loss: { operation, _ in
            calls.answer(operation)
        }
        blobs = BlobStore(store: store, now: { time.wall }, grace: Self.grace)
        registry = Registry(store: store, blobs: blobs, now: { time.wall })
        var limits = limits
        limits.lifetime = Self.lifetime
        uploads = UploadSessions(registry: registry, limits: limits, now: { time.steady })
        name = try RepositoryName(parsing: "a/b")
    }

    package var owners: ContentOwners { ContentOwners([PushedRepositories(registry: registry)]) }

    package func pass(_ seconds: Int64) { time.pass(seconds) }

    package func owner(_ user: String = "u", of name: RepositoryName? = nil) -> UploadOwner {
        UploadOwner(repository: name ?? self.name, user: user)
    }

    @discardableResult
    package func push(_ text: String, to name: RepositoryName? = nil) async throws -> Digest {
        let bytes = Array(text.utf8)
        sizes.add(bytes)
        return try await uploads.take(owner(of: name), AsyncElements([bytes]), as: Digest.of(bytes)).digest
    }

    /// A descriptor of content, with the size that it has if it was pushed.
    package func descriptor(_ digest: Digest, _ type: MediaType) -> String {
        #"{"mediaType":"\#(type)","digest":"\#(digest)","size":\#(sizes[digest])}"#
    }

    /// An image manifest that names blobs as its layers.
    package func manifest(
        _ layers: [Digest], _ type: MediaType = .ociLayer, subject: Digest? = nil, note: String = ""
    ) -> [UInt8] {
        let subject = subject.map { #","subject":\#(descriptor($0, .ociManifest))"# } ?? ""
        let list = layers.map { descriptor($0, type) }.joined(separator: ",")
        let config = descriptor(Digest.of(Array("{}".utf8)), .ociConfig)
        return Array(
            #"{"schemaVersion":2,"config":\#(config),"layers":[\#(list)],"annotations":{"n":"\#(note)"}\#(subject)}"#
                .utf8)
    }

    @discardableResult
    package func put(
        _ manifest: [UInt8], _ reference: String, tags: [String] = [], type: String = MediaType.ociManifest.text
    ) async throws -> Digest {
        sizes.add(manifest)
        return try await registry.putManifest(
            name, try Reference(parsing: reference), tags: try tags.map { try Tag(parsing: $0) }, contentType: type,
            manifest
        ).digest
    }

    /// The bytes of a manifest, or nil if it is not there.
    package func manifest(_ reference: String) async throws -> [UInt8]? {
        do { return try await registry.manifest(name, try Reference(parsing: reference)).bytes } catch {
            guard case RegistryError.unknownManifest = error else { throw error }
            return nil
        }
    }

    /// The bytes of a blob, or nil if it is not there.
    package func blob(_ digest: Digest) async throws -> [UInt8]? {
        let open: OpenBlob
        do { open = try await registry.openBlob(name, digest) } catch {
            guard case RegistryError.unknownBlob = error else { throw error }
            return nil
        }
        let bytes = try await open.reader.read(at: 0, maximum: 1 << 20)
        await open.reader.close()
        return bytes
    }

    package func tags() async throws -> [String] {
        do { return try await registry.tags(name, after: nil, limit: 1000).elements } catch {
            guard case RegistryError.unknownRepository = error else { throw error }
            return []
        }
    }

    package func referrers(of digest: Digest) async throws -> [Digest] {
        try await registry.referrers(name, of: digest, artifactType: nil, after: nil).elements.map(\.digest)
    }

    /// Pieces of content that are kept, whoever names them.
    package func contents() async throws -> Int { try await memory.contentSizes().count }

    private final class Time: Sendable {
        private let passed = Mutex<Int64>(0)
        private let start = ContinuousClock.now
        var wall: Int64 { passed.withLock { (1_000_000 + $0) * PushWorld.second } }
        var steady: ContinuousClock.Instant { passed.withLock { start + .seconds($0) } }
        func pass(_ seconds: Int64) { passed.withLock { $0 += seconds } }
    }
}

/// What was asked of a store, in order.
package final class Calls: Sendable {
    package struct Call: Hashable, CustomStringConvertible {
        package let operation: ObjectOperation
        package let key: String?
        package var description: String { "\(operation) \(key ?? "")" }
    }

    private struct State {
        var made: [Call] = []
        var failing: (number: Int, error: ObjectStoreError)?
        var losing: (number: Int, answer: InstrumentedObjectStore.Answer)?
        /// After a lost answer nothing can be read.
        var isBlinded = false
        /// Calls that may have changed something.
        var changes = 0
    }

    private let state = Mutex(State())

    package init() {}

    package var made: [Call] { state.withLock { $0.made } }

    /// Calls by which a request waits for the disk.
    package var flushes: Int { made.count { [.sync, .finish].contains($0.operation) } }

    /// Forgets what was made; the call of a number from now on fails, if any.
    package func start(failing number: Int? = nil, with error: ObjectStoreError = .io("the disk")) {
        state.withLock { $0 = State(failing: number.map { ($0, error) }) }
    }

    /// Calls that may have changed something.
    package var changes: Int { state.withLock { $0.changes } }

    /// Forgets what was made; of the calls from now on that may change something one's answer is lost, or late.
    /// - Parameter blinding: then nothing can be read any more, while writes go through.
    package func start(losing number: Int, _ answer: InstrumentedObjectStore.Answer, blinding: Bool = false) {
        state.withLock { $0 = State(losing: (number, answer), isBlinded: blinding) }
    }

    package func answer(_ operation: ObjectOperation) -> InstrumentedObjectStore.Answer {
        guard ![.get, .head, .list, .listComponents, .open, .read, .presign].contains(operation) else { return .given }
        return state.withLock { state in
            defer { state.changes += 1 }
            guard let losing = state.losing, losing.number == state.changes else { return .given }
            return losing.answer
        }
    }

    package func make(_ operation: ObjectOperation, _ key: ObjectKey?) throws(ObjectStoreError) {
        try state.withLock { (state) throws(ObjectStoreError) in
            let number = state.made.count
            state.made.append(Call(operation: operation, key: key?.text))
            if let failing = state.failing, failing.number == number { throw failing.error }
            if state.isBlinded, let losing = state.losing, state.changes > losing.number,
                [.get, .head, .list, .open].contains(operation)
            {
                throw .io("blind")
            }
        }
    }

    /// Where the first call of a kind below a prefix is; nil if there was none.
    package func index(_ operation: ObjectOperation, _ prefix: String) -> Int? {
        made.firstIndex { $0.operation == operation && $0.key?.hasPrefix(prefix) == true }
    }
}
