package import JSON
import OCI
package import ObjectStore
import Records

/// A staging task: `staging/tasks/<guid>`.
///
/// While it is not over the record has the request, secrets included; from then on it has the outcome and, until that is
/// delivered or given up, the callback's URL. Both are erased with the write that ends their need.
package struct StagingRecord: JSONRecord, Hashable {
    package enum State: String, Hashable, Sendable, CaseIterable {
        case queued, running, staged, failed, cancelled

        /// Whether nothing more will come of it.
        package var isFinal: Bool { self != .queued && self != .running }
    }

    /// What was sent to the controller, or will be.
    package struct Delivery: Hashable, Sendable {
        package enum State: String, Hashable, Sendable {
            /// It has to be sent, again perhaps.
            case pending
            case delivered
            /// The controller refused it, or could not be reached for a day.
            case abandoned
        }

        package var state: State
        /// Has a password; nil once it is not needed any more.
        var url: String?
        /// The same at each attempt.
        var body: JSONValue
        package var attempts: Int64 = 0
        /// What became of the last attempt, without secrets.
        package var last = ""
    }

    package let guid: String
    package let space: String
    package let org: String
    package let app: String
    package let by: String
    /// Nanoseconds since 1970, all of them.
    package let created: Int64
    package var state: State
    package var started: Int64?
    package var ended: Int64?
    /// How often it was begun: once, and once more if the server ended meanwhile.
    package var attempts: Int64 = 0
    var request: JSONValue?
    package var droplet: StagedDroplet?
    package var failure: StagingFailure?
    package var delivery: Delivery?

    package static let prefix = "staging/tasks/"

    /// Letters, digits, `.`, `_` and `-`, at most 200.
    package static func isGUID(_ text: String) -> Bool {
        (1...200).contains(text.utf8.count) && text.first != "."
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }

    static func key(_ guid: String) throws(ObjectStoreError) -> ObjectKey { try ObjectKey(prefix + guid) }

    init(guid: String, request: StagingRequest, by: String, created: Int64) {
        self.guid = guid
        (space, org, app) = (request.space, request.org, request.app)
        self.by = by
        self.created = created
        state = .queued
        self.request = request.json
    }

    package init?(_ json: JSONValue, at key: ObjectKey) {
        let parts = key.text.split(separator: "/")
        guard parts.count == 3, let state = json["state"]?.string.flatMap(State.init(rawValue:)),
            let created = json["created"]?.integer, let by = json["by"]?.string
        else { return nil }
        guid = String(parts[2])
        self.state = state
        self.created = created
        self.by = by
        space = json["space"]?.string ?? ""
        org = json["org"]?.string ?? ""
        app = json["app"]?.string ?? ""
        started = json["started"]?.integer
        ended = json["ended"]?.integer
        attempts = json["attempts"]?.integer ?? 0
        request = json["request"]
        if let item = json["droplet"] {
            guard let digest = item["digest"]?.string.flatMap({ try? Digest(parsing: $0) }),
                let size = item["size"]?.integer
            else { return nil }
            droplet = StagedDroplet(digest: digest, size: size, result: item["result"] ?? .null)
        }
        if let item = json["failure"] {
            guard let phase = item["phase"]?.string, let message = item["message"]?.string else { return nil }
            failure = StagingFailure(
                phase: phase, id: item["id"]?.string.flatMap(StagingFailure.ID.init(rawValue:)) ?? .other,
                message: message, buildpack: item["buildpack"]?.string,
                exitCode: item["exit_code"]?.integer.map { Int32(clamping: $0) },
                log: (item["log"]?.array ?? []).compactMap(\.string))
        }
        if let item = json["delivery"] {
            guard let state = item["state"]?.string.flatMap(Delivery.State.init(rawValue:)) else { return nil }
            delivery = Delivery(
                state: state, url: item["url"]?.string, body: item["body"] ?? .null,
                attempts: item["attempts"]?.integer ?? 0, last: item["last"]?.string ?? "")
        }
    }

    package var json: JSONValue {
        var json: JSONObject = [
            "state": .string(state.rawValue), "created": .integer(created), "by": .string(by),
            "space": .string(space), "org": .string(org), "app": .string(app), "attempts": .integer(attempts),
        ]
        json["started"] = started.map { .integer($0) }
        json["ended"] = ended.map { .integer($0) }
        json["request"] = request
        if let droplet {
            json["droplet"] = [
                "digest": .string(droplet.digest.description), "size": .integer(droplet.size),
                "result": droplet.result,
            ]
        }
        json["failure"] = failure.map(Self.json)
        if let delivery {
            var members: JSONObject = [
                "state": .string(delivery.state.rawValue), "body": delivery.body,
                "attempts": .integer(delivery.attempts), "last": .string(delivery.last),
            ]
            members["url"] = delivery.url.map { .string($0) }
            json["delivery"] = .object(members)
        }
        return .object(json)
    }

    static func json(_ failure: StagingFailure) -> JSONValue {
        var members: JSONObject = [
            "phase": .string(failure.phase), "id": .string(failure.id.rawValue), "message": .string(failure.message),
            "log": .array(failure.log.map { .string($0) }),
        ]
        members["buildpack"] = failure.buildpack.map { .string($0) }
        members["exit_code"] = failure.exitCode.map { .integer(Int64($0)) }
        return .object(members)
    }

    /// Whether the task has ended with this outcome.
    func has(_ outcome: StagingOutcome) -> Bool {
        switch outcome {
        case .staged(let droplet): state == .staged && self.droplet == droplet
        case .failed(let failure): state == .failed && self.failure == failure
        case .cancelled: state == .cancelled
        }
    }

    /// What clients are told: nothing of the request, and no URL.
    package var document: JSONValue {
        var json: JSONObject = [
            "guid": .string(guid), "state": .string(state.rawValue), "by": .string(by), "space": .string(space),
            "org": .string(org), "app": .string(app), "attempts": .integer(attempts),
        ]
        func time(_ value: Int64?) -> JSONValue? { value.map { .integer($0 / 1_000_000_000) } }
        json["created"] = time(created)
        json["started"] = time(started)
        json["ended"] = time(ended)
        if let droplet {
            json["droplet"] = ["digest": .string(droplet.digest.description), "size": .integer(droplet.size)]
            json["result"] = droplet.result
        }
        json["failure"] = failure.map(Self.json)
        if let delivery {
            json["callback"] = [
                "state": .string(delivery.state.rawValue), "attempts": .integer(delivery.attempts),
                "last": .string(delivery.last),
            ]
        }
        return .object(json)
    }
}
