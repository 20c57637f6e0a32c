import JSON

/// Why a call to an API server failed. No case repeats a token, a password or a Secret's content.
package enum KubernetesError: Error, Hashable, Sendable {
    /// The server refused. It says so before it changes anything.
    case refused(APIStatus)
    /// A write was sent and its answer was lost, or the server does not know either. It may have been done: read back
    /// before it is repeated or given up.
    case unknown(String)
    /// There is no answer, and nothing was changed.
    case unreachable(String)
    /// The server's certificate is not trusted, or is for another name.
    case untrusted(String)
    /// The time that the caller gave is over, and nothing was changed.
    case timedOut(String)
    /// A setting, a file or a name that can't be used.
    case configuration(String)
    /// The answer is none that an API server gives, or is larger than what is read.
    case malformed(String)
    /// Another process may hold the lease by now.
    case leaseLost(String)
}

extension KubernetesError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .refused(let status): "the API server refuses: \(status)"
        case .unknown(let reason): "it is not known whether it was done: \(reason)"
        case .unreachable(let reason), .untrusted(let reason): "the API server can't be reached: \(reason)"
        case .timedOut(let reason): "it takes too long: \(reason)"
        case .configuration(let reason): reason
        case .malformed(let reason): "the API server's answer is not understood: \(reason)"
        case .leaseLost(let reason): "the lease is lost: \(reason)"
        }
    }

    package var status: APIStatus? { if case .refused(let status) = self { status } else { nil } }

    /// There is no such object, or no such kind of objects.
    package var isNotFound: Bool { status?.code == 404 }
    /// The object has changed since it was read, or a precondition does not hold.
    package var isConflict: Bool { status?.code == 409 && status?.reason != "AlreadyExists" }
    package var isAlreadyExists: Bool { status?.code == 409 && status?.reason == "AlreadyExists" }
    /// The resource version or the page is too old: list anew.
    package var isExpired: Bool { status?.code == 410 }
}

/// What a server says about a failure: `Status` of meta/v1 (Kubernetes API conventions, "Response Status Kind"). Its texts
/// are bounded and printable.
package struct APIStatus: Hashable, Sendable, CustomStringConvertible {
    package struct Cause: Hashable, Sendable {
        package let reason: String
        package let message: String
        package let field: String
    }

    static let maximumCauses = 32

    /// The HTTP status.
    package let code: Int
    /// As in `NotFound`; empty if the answer is not of the API server's own making.
    package let reason: String
    package let message: String
    /// In seconds.
    package let retryAfter: Int?
    package let causes: [Cause]

    package init(code: Int, reason: String = "", message: String = "", retryAfter: Int? = nil, causes: [Cause] = []) {
        (self.code, self.reason, self.message, self.retryAfter) = (code, reason, message, retryAfter)
        self.causes = causes
    }

    /// - Parameters:
    ///   - code: counts if the document says none.
    ///   - isSecret: whether the request had secrets in it, which messages may quote.
    init(_ json: JSONValue?, code: Int, retryAfter: Int? = nil, isSecret: Bool = false) {
        let document = json?["kind"]?.string == "Status" ? json : nil
        let details = document?["details"]
        func text(_ value: JSONValue?, _ maximum: Int) -> String { Self.printable(value?.string ?? "", maximum) }
        self.code = document?["code"]?.integer.flatMap { (100...599).contains($0) ? Int($0) : nil } ?? code
        reason = text(document?["reason"], 100)
        message = isSecret ? "" : text(document?["message"], 1000)
        let seconds = details?["retryAfterSeconds"]?.integer.flatMap { $0 > 0 ? Int(min($0, 86_400)) : nil }
        self.retryAfter = retryAfter ?? seconds
        causes = (details?["causes"]?.array ?? []).prefix(Self.maximumCauses).map { cause in
            Cause(
                reason: text(cause["reason"], 100), message: isSecret ? "" : text(cause["message"], 500),
                field: text(cause["field"], 300))
        }
    }

    package var description: String {
        let what = reason.isEmpty ? "status \(code)" : "\(reason) (\(code))"
        return message.isEmpty ? what : "\(what): \(message)"
    }

    static func printable(_ text: String, _ maximum: Int) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.prefix(maximum).map { $0.value < 32 || $0.value == 127 ? " " : $0 })
        )
    }
}
