package import JSON
package import ObjectStore
package import Records

/// Long work that a user or a schedule asked for: `operations/<id>`.
///
/// The record is written before the work begins and at its end; meanwhile its owner, the process that does the work,
/// renews it regularly. So no work is lost silently: if its owner is gone, another process or the next start marks it
/// as interrupted.
package struct OperationRecord: JSONRecord, Hashable {
    package enum State: String, Sendable, CaseIterable {
        case running, done, failed
        /// A user asked for the cancellation.
        case cancelled
        /// Its owner stopped or is gone.
        case interrupted
    }

    package struct Progress: Hashable, Sendable {
        package var done: Int64
        /// nil if the total is not known.
        package var total: Int64?
        /// The unit of `done` and `total`, such as `bytes`.
        package var unit: String

        package init(done: Int64, total: Int64? = nil, unit: String) {
            self.done = done
            self.total = total
            self.unit = unit
        }
    }

    package struct Failure: Hashable, Sendable {
        package let code: String
        package let message: String

        package init(code: String, message: String) {
            self.code = code
            self.message = message
        }
    }

    static let prefix = "operations/"
    /// The largest report, in bytes: a larger one is left out of the record.
    private static let maximumReport = 256 << 10

    package let id: String
    package let kind: String
    /// The user who asked for it; nil for a schedule.
    package let by: String?
    package let parameters: [String: String]
    /// In nanoseconds since 1970, like all times here.
    package let begun: Int64
    package var ended: Int64?
    package var state: State
    package var progress: Progress?
    /// What is known so far, and the result at the end; its form depends on the kind.
    package var report: JSONValue
    package var failure: Failure?
    /// The user who asked for the cancellation.
    package var cancelledBy: String?
    /// A random word that names the process which does the work.
    package let owner: String
    /// Until this time the owner counts as alive.
    package var lease: Int64

    /// - Throws: `.unknown` if the text can't be an operation's id.
    static func key(_ id: String) throws(OperationError) -> ObjectKey {
        guard !id.contains("/"), let key = try? ObjectKey(prefix + id) else { throw .unknown(id: id) }
        return key
    }

    init(_ request: OperationRequest, id: String, owner: String, begun: Int64, lease: Int64) {
        self.id = id
        kind = request.kind
        by = request.by
        parameters = request.parameters
        self.begun = begun
        state = .running
        report = .null
        self.owner = owner
        self.lease = lease
    }

    package init?(_ json: JSONValue, at key: ObjectKey) {
        guard key.text.hasPrefix(Self.prefix), let kind = json["kind"]?.string,
            let state = json["state"]?.string.flatMap(State.init(rawValue:)), let begun = json["begun"]?.integer,
            let owner = json["owner"]?.string, let lease = json["lease"]?.integer,
            let parameters = json["parameters"]?.object
        else { return nil }
        id = String(key.text.dropFirst(Self.prefix.count))
        self.kind = kind
        self.state = state
        self.begun = begun
        self.owner = owner
        self.lease = lease
        self.parameters = parameters.reduce(into: [:]) { $0[$1.key] = $1.value.string }
        by = json["by"]?.string
        ended = json["ended"]?.integer
        cancelledBy = json["cancelledBy"]?.string
        report = json["report"] ?? .null
        if let progress = json["progress"], let done = progress["done"]?.integer {
            self.progress = Progress(
                done: done, total: progress["total"]?.integer, unit: progress["unit"]?.string ?? "")
        }
        if let failure = json["failure"] {
            self.failure = Failure(
                code: failure["code"]?.string ?? "", message: failure["message"]?.string ?? "")
        }
    }

    package var json: JSONValue {
        var members: JSONObject = [
            "kind": .string(kind), "state": .string(state.rawValue), "begun": .integer(begun), "owner": .string(owner),
            "lease": .integer(lease), "parameters": .object(JSONObject(parameters.mapValues { .string($0) })),
        ]
        if let by { members["by"] = .string(by) }
        if let ended { members["ended"] = .integer(ended) }
        if let cancelledBy { members["cancelledBy"] = .string(cancelledBy) }
        if report != .null, report.canonicalBytes.count <= Self.maximumReport { members["report"] = report }
        if let progress {
            var json: JSONObject = ["done": .integer(progress.done), "unit": .string(progress.unit)]
            if let total = progress.total { json["total"] = .integer(total) }
            members["progress"] = .object(json)
        }
        if let failure { members["failure"] = ["code": .string(failure.code), "message": .string(failure.message)] }
        return .object(members)
    }
}

/// A request for an operation.
package struct OperationRequest: Hashable, Sendable {
    package let kind: String
    /// The user who asks; nil for a schedule.
    package let by: String?
    package let parameters: [String: String]
    /// Whether only one operation of this kind may run at a time.
    package let isAlone: Bool

    package init(kind: String, by: String?, parameters: [String: String] = [:], isAlone: Bool = false) {
        self.kind = kind
        self.by = by
        self.parameters = parameters
        self.isAlone = isAlone
    }
}

package enum OperationError: Error, Hashable, RecordFailure {
    /// An operation of this kind is running, and only one may.
    case running(kind: String, id: String)
    case tooMany
    /// The process is about to end.
    case stopping
    case unknown(id: String)
    /// The operation has ended, so it can't be cancelled.
    case ended(id: String)
    /// The operation was cancelled while its caller waited for it.
    case cancelled(by: String)
    case record(RecordError)

    package init(_ error: RecordError) { self = .record(error) }
}

extension OperationError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .running(let kind, let id): "a \(kind) runs already: operation \(id)"
        case .tooMany: "too many operations run: try again later"
        case .stopping: "the server is about to stop: try again later"
        case .unknown(let id): "there is no operation '\(id.prefix(64))'"
        case .ended(let id): "operation \(id) has ended"
        case .cancelled(let by): "it was cancelled by \(by)"
        case .record(.store(let error)): "\(error)"
        case .record(.unreadable(let record)): "\(record)"
        case .record(.contended(let key)): "\(key) is changed too often: try again"
        }
    }
}
