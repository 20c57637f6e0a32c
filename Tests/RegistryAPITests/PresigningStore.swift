import HTTPTypes
import Identity
import OCI
import ObjectStore
import Synchronization

@testable import HTTPServer

/// A store over memory that gives URLs to its objects, and the server behind them, which checks their signatures.
final class PresigningStore: ForwardingObjectStore {
    let base: any ObjectStore = MemoryObjectStore()
    private let secret = "a secret of the store"
    private let place = Mutex(0)
    private let served = Mutex<[String]>([])

    /// Where its server listens.
    func serve(at port: Int) { place.withLock { $0 = port } }

    /// The Range headers of requests that were answered; empty for none.
    var requests: [String] { served.withLock { $0 } }

    var capabilities: ObjectStoreCapabilities { ObjectStoreCapabilities(exclusive: true, presign: true) }

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
}
