package import JSON
package import ObjectStore
package import Records

/// Long work that somebody asked for, or a schedule: `operations/<id>`.
///
/// It is written down before it begins, and again at its end; in between its owner, the process that does it, renews the
/// record now and then. So work is never forgotten: whose owner is gone is marked as interrupted by another process, or by
/// the next start.
package struct OperationRecord: JSONRecord, Hashable {
    package enum State: String, Sendable, CaseIterable {
        case running, done, failed
        /// Somebody wanted that.
        case cancelled
        /// Its owner stopped, or is gone.
        case interrupted
    }

    package struct Progress: Hashable, Sendable {
        package var done: Int64
        /// nil: nobody knows how much there is to do.
        package var total: Int64?
        /// What is counted, as in `bytes`.
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
    /// What a report has at most, in bytes: a larger one is left out of the record.
    private static let maximumReport = 256 << 10

    package let id: String
    package let kind: String
    /// nil: a schedule.
    package let by: String?
    package let parameters: [String: String]
    /// In nanoseconds since 1970, as all times here.
    package let begun: Int64
    package var ended: Int64?
    package var state: State
    package var progress: Progress?
    /// What is known so far, and at the end what came of it; its form is the kind's.
    package var report: JSONValue
    package var failure: Failure?
    /// Who wants it cancelled.
    package var cancelledBy: String?
    /// The process that does it: a word of its own.
    package let owner: String
    /// Until then the owner is believed to be there.
    package var lease: Int64

    /// - Throws: `.unknown` for what can't be an id.
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
        self.parameters = parameters.compactMapValues(\.string)
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
        var members: [String: JSONValue] = [
            "kind": .string(kind), "state": .string(state.rawValue), "begun": .integer(begun), "owner": .string(owner),
            "lease": .integer(lease), "parameters": .object(parameters.mapValues { .string($0) }),
        ]
        if let by { members["by"] = .string(by) }
        if let ended { members["ended"] = .integer(ended) }
        if let cancelledBy { members["cancelledBy"] = .string(cancelledBy) }
        if report != .null, report.canonicalBytes.count <= Self.maximumReport { members["report"] = report }
        if let progress {
            var json: [String: JSONValue] = ["done": .integer(progress.done), "unit": .string(progress.unit)]
            if let total = progress.total { json["total"] = .integer(total) }
            members["progress"] = .object(json)
        }
        if let failure { members["failure"] = ["code": .string(failure.code), "message": .string(failure.message)] }
        return .object(members)
    }
}

/// What is asked for.
package struct OperationRequest: Hashable, Sendable {
    package let kind: String
    /// nil: a schedule.
    package let by: String?
    package let parameters: [String: String]
    /// Whether only one of its kind runs at a time.
    package let isAlone: Bool

    package init(kind: String, by: String?, parameters: [String: String] = [:], isAlone: Bool = false) {
        self.kind = kind
        self.by = by
        self.parameters = parameters
        self.isAlone = isAlone
    }
}

package enum OperationError: Error, Hashable, RecordFailure {
    /// One of its kind runs, and only one may.
    case running(kind: String, id: String)
    case tooMany
    /// The process is about to end.
    case stopping
    case unknown(id: String)
    /// It can't be cancelled any more.
    case ended(id: String)
    /// It was cancelled while its caller waited for it.
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
