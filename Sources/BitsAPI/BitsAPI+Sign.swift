import HTTPServer
import HTTPTypes
import Identity

extension BitsAPI {
    /// Adds `GET /sign/<path>?verb=get|put|post`, which answers a signed URL as text. It signs for its caller what the
    /// caller may do itself with `signable`.
    func addSignRoute(to routes: inout Routes, for signable: Routes) {
        routes.get("/sign/**") { request in
            let verb = try request.query("verb") ?? "get"
            guard let method = URLSigner.Method(rawValue: verb.uppercased()) else {
                throw HTTPFailure(.badRequest, "the verb is none of get, put and post")
            }
            let path = String(request.path.dropFirst("/sign".count))
            try signable.requireSignable(HTTPRequest.Method(method), path, by: request)
            guard let base = settings.publicURL ?? request.origin else {
                throw HTTPFailure(.badRequest, "the Host is missing")
            }
            let query = request.queryText.split(separator: "&").filter { !$0.hasPrefix("verb=") }
            let target = query.isEmpty ? path : "\(path)?\(query.joined(separator: "&"))"
            return .text(base + signer.sign(method, target))
        }
    }
}

extension HTTPRequest.Method {
    fileprivate init(_ method: URLSigner.Method) {
        self =
            switch method {
            case .get: .get
            case .put: .put
            case .post: .post
            }
    }
}
