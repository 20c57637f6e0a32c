import Foundation
public import JSON

/// A container that is about to be started.
public struct ContainerStart: Sendable {
    public let pod: JSONValue
    public let container: JSONValue
    public let isInit: Bool
    /// How often it was started before.
    public let restarts: Int
    public let imageID: String
    /// Its variables, with what they take from Secrets, ConfigMaps and the pod.
    public let environment: [String: String]
    /// What it sees of Secrets, ConfigMaps and tokens, by path.
    public let files: [String: [UInt8]]
}

/// What a container does once it is started, on the cluster's clock.
public struct ContainerRun: Sendable {
    public struct End: Sendable {
        public var code: Int
        /// Seconds after its start.
        public var after: Double
        /// Such as `OOMKilled`; nil for what the exit code says.
        public var reason: String?
        /// What it writes to `/dev/termination-log`.
        public var message: String

        public init(code: Int, after: Double = 0, reason: String? = nil, message: String = "") {
            self.code = code
            self.after = after
            self.reason = reason
            self.message = message
        }
    }

    public var log: String
    /// Nil for a container that runs until it is stopped.
    public var end: End?
    /// Seconds until its readiness probe passes; nil if it never does.
    public var readyAfter: Double?
    /// Seconds that it takes to stop when it is told to.
    public var stopsAfter: Double

    public init(log: String = "", end: End? = nil, readyAfter: Double? = 0, stopsAfter: Double = 0) {
        self.log = log
        self.end = end
        self.readyAfter = readyAfter
        self.stopsAfter = stopsAfter
    }

    public static func exits(_ code: Int, after seconds: Double = 0, reason: String? = nil, log: String = "")
        -> ContainerRun
    {
        ContainerRun(log: log, end: End(code: code, after: seconds, reason: reason))
    }
    /// As the kernel ends what takes too much memory ("Resource Management for Pods and Containers").
    public static func runsOutOfMemory(after seconds: Double = 0) -> ContainerRun {
        exits(137, after: seconds, reason: "OOMKilled")
    }
    public static let runs = ContainerRun()
}

/// What the runtime of a node knows of a container.
struct ContainerState {
    enum Phase {
        case waiting(reason: String, message: String)
        case running(since: Date)
        case ended(code: Int, reason: String, message: String, since: Date, until: Date)
    }

    var phase = Phase.waiting(reason: "ContainerCreating", message: "")
    var last: Phase?
    var image = ""
    var imageID = ""
    var id = ""
    var run = ContainerRun()
    var restarts = 0
    /// When it is tried again, if it waits.
    var due: Date
    /// By image string: restarts and failed pulls double the time that the next one waits ("Images",
    /// "ImagePullBackOff"; "Pod Lifecycle", "How Pods handle problems with containers").
    var backOff: [String: (count: Int, last: Date)] = [:]
    var log: [UInt8] = []

    init(due: Date) { self.due = due }

    var isRunning: Bool { if case .running = phase { true } else { false } }
    var exitCode: Int? { if case .ended(let code, _, _, _, _) = phase { code } else { nil } }

    func isReady(at now: Date) -> Bool {
        guard case .running(let since) = phase, let after = run.readyAfter else { return false }
        return since + after <= now
    }

    mutating func end(code: Int, reason: String?, message: String = "", at time: Date) {
        guard case .running(let since) = phase else { return }
        let reason = reason ?? (code == 0 ? "Completed" : "Error")
        phase = .ended(code: code, reason: reason, message: message, since: since, until: time)
    }

    /// - Returns: how long to wait before the next try with this image, in seconds.
    mutating func wait(for image: String, at now: Date) -> Double {
        var state = backOff[image] ?? (0, now)
        // Ten minutes without trouble, and it is forgotten.
        if now.timeIntervalSince(state.last) > 600 { state.count = 0 }
        let seconds = state.count == 0 ? 0 : min(300, 10 * pow(2, Double(state.count - 1)))
        backOff = backOff.count > 100 ? [:] : backOff
        backOff[image] = (min(state.count + 1, 10), now)
        return seconds
    }

    func json(name: String, at now: Date) -> JSONValue {
        var json: JSONValue = [
            "name": .string(name), "image": .string(image), "imageID": .string(imageID),
            "restartCount": .integer(restarts), "ready": .bool(isReady(at: now)), "started": .bool(isRunning),
            "state": Self.json(phase, id), "lastState": last.map { Self.json($0, id) } ?? [:],
        ]
        if !id.isEmpty { json.set(.string(id), "containerID") }
        return json
    }

    private static func json(_ phase: Phase, _ id: String) -> JSONValue {
        switch phase {
        case .waiting(let reason, let message):
            var waiting: JSONValue = ["reason": .string(reason)]
            if !message.isEmpty { waiting.set(.string(message), "message") }
            return ["waiting": waiting]
        case .running(let since): return ["running": ["startedAt": .string(VirtualClock.timestamp(since))]]
        case .ended(let code, let reason, let message, let since, let until):
            var ended: JSONValue = [
                "exitCode": .integer(code), "reason": .string(reason), "containerID": .string(id),
                "startedAt": .string(VirtualClock.timestamp(since)),
                "finishedAt": .string(VirtualClock.timestamp(until)),
            ]
            if !message.isEmpty { ended.set(.string(message), "message") }
            return ["terminated": ended]
        }
    }
}

/// What a node knows of a pod that it runs.
struct PodState {
    var containers: [String: ContainerState] = [:]
    var ip = ""
    let start: Date
    /// Why the node ended it: `Evicted`, `DeadlineExceeded`.
    var end: (reason: String, message: String)?
    var stopsAt: Date?
}
