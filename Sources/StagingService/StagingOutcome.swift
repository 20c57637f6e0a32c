package import JSON
package import OCI
import Staging

/// How a staging task ended.
package enum StagingOutcome: Hashable, Sendable {
    case staged(StagedDroplet)
    case failed(StagingFailure)
    case cancelled
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
            failure?[name]?.string.map {
                String($0.unicodeScalars.filter { $0.value >= 32 && $0.value != 127 }.prefix(500).map(Character.init))
            }
        }
        let ownCode = failure?["exit_code"]?.integer.map { Int32(clamping: $0) }
        return StagingFailure(
            phase: text("phase").flatMap { BuildPhase(rawValue: $0)?.rawValue } ?? "build", id: id,
            message: text("message") ?? "the build failed with exit code \(exitCode)", buildpack: text("buildpack"),
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
