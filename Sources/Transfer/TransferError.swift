/// Why a transfer failed, in words for the person who asked for it.
public enum TransferError: Error, Hashable, Sendable {
    /// The server can't be reached, or its certificate is not trusted.
    case connection(server: String, reason: String)
    /// The server refused. `code` and `message` are the server's own, bounded and printable.
    case refused(status: Int, code: String, message: String, requestID: String)
    /// The server answered something that is no answer of Cistern's.
    case unexpected(String)
    case file(path: String, reason: String)
    /// Another registry, from which an image is to come, refused.
    case source(String)
    /// A URL, a CA file or another setting that can't be used.
    case configuration(String)
}

extension TransferError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .connection(let server, let reason): "can't reach \(server): \(reason)"
        case .refused(401, _, _, _):
            "the server does not know this user and password: check --user and --password-file"
        case .refused(403, _, let message, _):
            "this user may not do that: \(message.isEmpty ? "ask for the operator role" : message)"
        case .refused(let status, let code, let message, let requestID):
            "the server refused (\(status)\(code.isEmpty ? "" : " \(code)")): "
                + "\(message.isEmpty ? "no reason given" : message)\(requestID.isEmpty ? "" : " [request \(requestID)]")"
        case .unexpected(let reason): "the server's answer is not understood: \(reason)"
        case .file(let path, let reason): "\(path): \(reason)"
        case .configuration(let reason), .source(let reason): reason
        }
    }
}
