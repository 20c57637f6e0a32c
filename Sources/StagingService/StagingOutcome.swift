package import JSON
package import OCI
import Staging

/// How a staging task ended.
package enum StagingOutcome: Hashable, Sendable {
    case staged(StagedDroplet)
    case failed(StagingFailure)
    case cancelled
}

extension StagingOutcome {
    /// The largest report that is read, in bytes.
    package static let maximumReport = 8 << 20

    /// What `stage-upload` reports, to a file or as the body of `PUT /stage/<guid>/completed`: `{"failed",
    /// "failure_reason", "result": "<JSON>", "droplet": {"digest", "size"}}`. Other members are not looked at.
    /// - Returns: nil if it is none.
    package init?(report: JSONValue) {
        guard let hasFailed = report["failed"]?.bool else { return nil }
        if hasFailed {
            self = .failed(StagingFailure(reason: report["failure_reason"]?.string ?? ""))
            return
        }
        guard let digest = report["droplet"]?["digest"]?.string.flatMap({ try? Digest(parsing: $0) }),
            let size = report["droplet"]?["size"]?.integer, size >= 0,
            let result = report["result"]?.string.flatMap({ try? JSONValue(parsing: $0) }), result.object != nil
        else { return nil }
        self = .staged(StagedDroplet(digest: digest, size: size, result: result))
    }
}

/// What a task made and sent.
package struct StagedDroplet: Hashable, Sendable {
    /// Of the droplet's bytes.
    package let digest: Digest
    package let size: Int64
    /// The result for the controller: `result.json`, as far as the upload step believed it.
    package let result: JSONValue

    package init(digest: Digest, size: Int64, result: JSONValue) {
        (self.digest, self.size, self.result) = (digest, size, result)
    }
}

/// Why a task made no droplet, in the controller's terms and in a sentence for people.
package struct StagingFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// The controller's names of failures.
    package enum ID: String, Hashable, Sendable {
        case nothingDetected = "NoAppDetectedError"
        case compile = "BuildpackCompileFailed"
        case release = "BuildpackReleaseFailed"
        case insufficientResources = "InsufficientResources"
        case other = "StagingError"
    }

    /// `download`, `upload`, `start`, or a phase of the build.
    package let phase: String
    package let id: ID
    /// A sentence without its full stop, which holds no secret.
    package let message: String
    package let buildpack: String?
    /// Of the program of the buildpack, or of the step, that failed.
    package let exitCode: Int32?
    /// The last lines of the log.
    package let log: [String]

    package init(
        phase: String, id: ID = .other, message: String, buildpack: String? = nil, exitCode: Int32? = nil,
        log: [String] = []
    ) {
        (self.phase, self.id, self.message) = (phase, id, message)
        (self.buildpack, self.exitCode, self.log) = (buildpack, exitCode, log)
    }

    package var description: String { message }

    /// What a step reported as the reason: where it ends with one of the build's exit codes, that says what it was.
    init(reason: String) {
        let codes: [(String, Int32, ID)] = [
            ("222", 222, .nothingDetected), ("223", 223, .compile), ("224", 224, .release), ("225", 225, .other),
        ]
        let code = codes.first { reason.hasSuffix($0.0) }
        let message = Self.plain(reason)
        self.init(
            phase: code == nil ? "upload" : "build", id: code?.2 ?? .other,
            message: message.isEmpty ? "the step did not say why it failed" : message, exitCode: code?.1)
    }

    /// The signal that an exit code tells of, as shells number it; nil if it tells of none.
    static func signal(_ exitCode: Int32) -> Int32? { (129...192).contains(exitCode) ? exitCode - 128 : nil }

    /// A stranger's words: bounded, without control characters.
    private static func plain(_ text: String) -> String {
        String(text.unicodeScalars.filter { $0.value >= 32 && $0.value != 127 }.prefix(500).map(Character.init))
    }

    /// The failure of `stage-build`, by its exit code and by what it wrote down, which a stranger's program may have
    /// written in its place: that may choose the words, but not the kind.
    /// - Parameter result: `result.json`; nil if there is none that can be read.
    static func build(exitCode: Int32, result: JSONValue?, log: [String]) -> StagingFailure {
        let id: ID =
            switch exitCode {
            case 222: .nothingDetected
            case 223: .compile
            case 224: .release
            default: .other
            }
        let failure = result?["failure"]
        func text(_ name: String) -> String? {
            failure?[name]?.string.map(plain)
        }
        let ownCode = failure?["exit_code"]?.integer.map { Int32(clamping: $0) }
        return StagingFailure(
            phase: text("phase").flatMap { BuildPhase(rawValue: $0)?.rawValue } ?? "build", id: id,
            message: text("message") ?? Self.signal(exitCode).map { "the build was ended by signal \($0)" }
                ?? "the build failed with exit code \(exitCode)", buildpack: text("buildpack"),
            exitCode: ownCode ?? exitCode, log: log)
    }
}

/// The last lines of a log, bounded.
struct LogTail {
    static let maximumLines = 20
    private static let maximumLine = 500

    private var finished: [String] = []
    private var current: [UInt8] = []

    mutating func take(_ bytes: ArraySlice<UInt8>) {
        for part in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            if part.offset > 0 { endLine() }
            current += part.element.prefix(max(0, Self.maximumLine - current.count))
        }
    }

    private mutating func endLine() {
        if !current.isEmpty { finished.append(String(decoding: current, as: UTF8.self)) }
        if finished.count > Self.maximumLines { finished.removeFirst() }
        current.removeAll(keepingCapacity: true)
    }

    var lines: [String] {
        var tail = self
        tail.endLine()
        return tail.finished
    }
}
