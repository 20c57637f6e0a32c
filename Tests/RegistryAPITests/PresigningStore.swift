import HTTPTypes
import OCI
import ObjectStore
import Service
import Synchronization

/// A store over memory that gives URLs to its objects, and the server behind them, which checks their signatures.
final class PresigningStore: ObjectStore {
    private let base = MemoryObjectStore()
    private let secret = "a secret of the store"
    private let place = Mutex(0)
    private let served = Mutex<[String]>([])

    /// Where its server listens.
    func serve(at port: Int) { place.withLock { $0 = port } }

    /// The Range headers of requests that were answered; empty for none.
    var requests: [String] { served.withLock { $0 } }

    func presignedURL(for key: ObjectKey, lifetime: Duration) async throws(ObjectStoreError) -> String? {
        let expiry = String(lifetime.components.seconds)
        let port = place.withLock { $0 }
        return "http://127.0.0.1:\(port)/\(key.text)?expires=\(expiry)&signature=\(signature(key.text, expiry))"
    }

    func signature(_ key: String, _ expiry: String) -> String {
        Digest.of(Array("\(secret) \(key) \(expiry)".utf8)).hex
    }

    var routes: Routes {
        var routes = Routes()
        routes.on(.get, "/data/:id", access: .open) { [self] request in
            let key = "data/" + request.parameters["id"]
            guard let expiry = try request.query("expires"), expiry == "900",
                try request.query("signature") == signature(key, expiry), request.headers[.authorization] == nil
            else { throw HTTPFailure(.forbidden, "the signature is not good") }
            served.withLock { $0.append(request.headers[.range] ?? "") }
            return .file(
                ResponseFile(try await open(ObjectKey(key))), for: request, contentType: "application/octet-stream")
        }
        return routes
    }

    @discardableResult
    func put(
        _ key: ObjectKey, _ bytes: [UInt8], if condition: PutCondition
    ) async throws(ObjectStoreError) -> ObjectVersion { try await base.put(key, bytes, if: condition) }

    func get(_ key: ObjectKey) async throws(ObjectStoreError) -> StoredObject { try await base.get(key) }
    func head(_ key: ObjectKey) async throws(ObjectStoreError) -> ObjectInfo { try await base.head(key) }

    func delete(_ key: ObjectKey, ifVersion version: ObjectVersion?) async throws(ObjectStoreError) {
        try await base.delete(key, ifVersion: version)
    }

    func list(prefix: String, startAfter: String?, limit: Int) async throws(ObjectStoreError) -> [ObjectInfo] {
        try await base.list(prefix: prefix, startAfter: startAfter, limit: limit)
    }

    func listComponents(
        below prefix: String, startAfter: String?, limit: Int
    ) async throws(ObjectStoreError) -> [String] {
        try await base.listComponents(below: prefix, startAfter: startAfter, limit: limit)
    }

    func open(_ key: ObjectKey) async throws(ObjectStoreError) -> any ObjectReader { try await base.open(key) }

    func writer(for key: ObjectKey, use: ObjectUse) async throws(ObjectStoreError) -> any ObjectWriter {
        try await base.writer(for: key, use: use)
    }

    func copy(_ source: ObjectKey, to target: ObjectKey) async throws(ObjectStoreError) {
        try await base.copy(source, to: target)
    }

    func sync() async throws(ObjectStoreError) { try await base.sync() }
}
