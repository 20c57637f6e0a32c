import Archive
import Bits
import BitsAPI
import Blobs
import Droplets
import HTTPTypes
import Identity
import Images
import JSON
import Layers
import Logging
import OCI
import ObjectStore
import Operations
import Rootfs
import Synchronization

@testable import HTTPServer

/// The bits API over memory, asked without a connection.
struct BitsWorld: Sendable {
    static let maximumDroplet: Int64 = 100_000

    let store: InstrumentedObjectStore
    let droplets: DropletCatalog
    let bits: BitsCatalog
    let operations: OperationRunner
    let uploads: BitsUploads
    let signer: URLSigner
    private let routes: Routes

    struct Answer {
        let status: Int
        let headers: HTTPFields
        let body: [UInt8]

        var json: JSONValue { (try? JSONValue(parsing: body)) ?? .null }
        var code: Int64? { json["code"]?.integer }
    }

    /// - Parameter fault: of the store: what it throws is thrown instead of a call.
    init(
        memory: MemoryObjectStore = MemoryObjectStore(), listener: (any BitsListener)? = nil,
        fault: @escaping InstrumentedObjectStore.Fault = { _, _ in }
    ) throws {
        store = InstrumentedObjectStore(memory, fault: fault)
        let blobs = BlobStore(store: store, now: { 1 })
        droplets = DropletCatalog(
            store: store, blobs: blobs, conversions: 2, now: { 1_800_000_000_000_000_000 }
        )
        bits = BitsCatalog(
            store: store, blobs: blobs,
            limits: BitsLimits(bytes: Self.maximumDroplet, stash: StashRules(sizes: 5...(1 << 20))),
            now: { 1_800_000_000_000_000_000 })
        operations = OperationRunner(
            store: store, isExclusive: true, describe: { .init(code: "", message: "\($0)") },
            now: { 1_800_000_000_000_000_000 }, logger: Logger(label: "test"))
        uploads = BitsUploads(
            catalog: bits, operations: operations, listener: listener, now: { 1_800_000_000_000_000_000 },
            logger: Logger(label: "test"))
        signer = URLSigner(try SecretKeys(parsing: "id \(String(repeating: "s", count: 32))", for: .urls))
        routes =
            BitsAPI(
                droplets: droplets, uploads: uploads, signer: signer,
                settings: BitsAPI.Settings(
                    maximumDroplet: Self.maximumDroplet, limits: ConversionLimits(),
                    layout: DropletLayout(mode: .single),
                    defaultStack: try StackName("default"), defaultArchitecture: .amd64,
                    publicURL: "https://bits.example:8443")
            ).routes
    }

    /// What a user is answered whose role is enough for the route, failures worded as a client reads them.
    func send(
        _ method: HTTPRequest.Method, _ target: String, _ headers: HTTPFields = [:], body: [UInt8] = [],
        as role: Role = .stage
    ) async throws -> Answer {
        let path = String(target.prefix { $0 != "?" })
        guard case .found(let route, let parameters) = routes.match(method, path) else {
            return Answer(status: 404, headers: [:], body: [])
        }
        var request = Request(
            method: method, target: target, headers: headers, body: body,
            principal: Principal(name: "stager", roles: [role]))
        request.parameters = parameters
        do {
            let response = try await route.handler(request)
            return Answer(
                status: response.status.code, headers: response.headers, body: try await bytes(of: response.body))
        } catch {
            guard let failure = (error as? HTTPFailure) ?? route.errors.failure(for: error) else { throw error }
            let (type, bytes) = route.errors.body(of: failure, requestID: "test")
            return Answer(
                status: failure.status.code, headers: failure.headers.merging(type), body: bytes)
        }
    }

    private func bytes(of body: ResponseBody) async throws -> [UInt8] {
        switch body {
        case .none: return []
        case .bytes(let bytes): return bytes
        case .file(let file, let range):
            var bytes: [UInt8] = []
            while bytes.count < range.count {
                let offset = range.lowerBound + Int64(bytes.count)
                bytes += try await file.read(offset, Int(range.upperBound - offset))
            }
            await file.close()
            return bytes
        case .stream: return []
        }
    }
}

extension HTTPFields {
    fileprivate func merging(_ contentType: String) -> HTTPFields {
        var fields = self
        fields[.contentType] = contentType
        return fields
    }
}

/// A droplet with one file, and its checksums.
struct SampleDroplet {
    let bytes: [UInt8]

    init(_ text: String, name: String = "./app/index.html", kind: TarEntry.Kind = .file) {
        var tar: [UInt8] = []
        func add(_ name: String, _ kind: TarEntry.Kind, _ content: [UInt8]) {
            let entry = TarEntry(
                kind: kind, name: Array(name.utf8), mode: 0o755, modified: TarTime(seconds: 1_700_000_000),
                size: Int64(content.count))
            TarWriter.append(entry, to: &tar)
            tar += content + [UInt8](repeating: 0, count: TarWriter.padding(entry.size))
        }
        add("./app/", .directory, [])
        add(name, kind, kind == .file ? Array(text.utf8) : [])
        tar += [UInt8](repeating: 0, count: TarWriter.endLength)
        bytes = tar
    }

    var sha256: String { Digest.of(bytes).hex }
    var sha1: String {
        var hasher = SHA1Hasher()
        bytes.withUnsafeBytes { hasher.update($0) }
        return hasher.finish()
    }
}

/// Something that is on or off.
final class Switch: Sendable {
    private let state = Mutex(false)
    var isOn: Bool {
        get { state.withLock { $0 } }
        set { state.withLock { $0 = newValue } }
    }
}
