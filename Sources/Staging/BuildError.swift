import CLinux
import Glibc
package import Launcher

/// The parts of a build in the order in which they run.
package enum BuildPhase: String, Hashable, Sendable {
    case prepare
    case detect
    case supply
    case finalize
    case compile
    case release
    /// Reading launch.yml and Procfile.
    case processes
    case droplet
    case cache
}

/// Why a build made no droplet. The text repeats nothing of the environment.
package struct BuildError: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Kind: Hashable, Sendable {
        /// No buildpack is for this app.
        case nothingDetected
        /// The last buildpack's compile, supply or finalize failed.
        case compile
        /// The last buildpack's release failed, or said something that is not readable.
        case release
        /// The supply of a buildpack before the last failed, or one of the buildpacks can't be used with others.
        case supply
        /// Somebody wanted the build to end.
        case cancelled
        case other

        /// The exit code of `stage-build`. The controller knows 222 to 225 by the end of a failure's reason.
        package var exitCode: Int32 {
            switch self {
            case .nothingDetected: 222
            case .compile: 223
            case .release: 224
            case .supply: 225
            case .cancelled: 143
            case .other: 1
            }
        }
    }

    package let kind: Kind
    package let message: String
    /// Where it happened; nil if the build had not begun.
    package var phase: BuildPhase?
    /// The name of the buildpack whose program failed.
    package var buildpack: String?
    /// How that program ended; nil if no program was the reason.
    package var end: ProcessEnd?

    package init(
        _ kind: Kind, _ message: String, phase: BuildPhase? = nil, buildpack: String? = nil, end: ProcessEnd? = nil
    ) {
        self.kind = kind
        self.message = message
        self.phase = phase
        self.buildpack = buildpack
        self.end = end
    }

    /// A call of the system that failed with this `errno`.
    static func system(_ doing: String, _ path: String, _ code: Int32) -> BuildError {
        BuildError(.other, "can't \(doing) \(path): \(String(cString: strerror(code)))")
    }

    static let cancelled = BuildError(.cancelled, "the build was ended from outside")

    package var description: String { message }

    func at(_ phase: BuildPhase) -> BuildError {
        var error = self
        error.phase = error.phase ?? phase
        return error
    }

    /// The same failure with a fact that may be the reason; an end from outside needs none.
    func noting(_ fact: String) -> BuildError {
        if kind == .cancelled { return self }
        return BuildError(kind, "\(message); \(fact)", phase: phase, buildpack: buildpack, end: end)
    }

    /// The same failure, which counts as another kind; an end from outside stays one.
    func counting(as kind: Kind, _ buildpack: String) -> BuildError {
        if self.kind == .cancelled { return self }
        return BuildError(kind, message, phase: phase, buildpack: self.buildpack ?? buildpack, end: end)
    }
}

/// Tells a build that it shall end.
package struct Cancellation: Sendable {
    /// Readable from then on; -1 if that never happens.
    package let descriptor: Int32

    package init(descriptor: Int32 = -1) { self.descriptor = descriptor }

    package var isRequested: Bool {
        guard descriptor >= 0 else { return false }
        var polled = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&polled, 1, 0) > 0
    }

    func check() throws(BuildError) {
        if isRequested { throw .cancelled }
    }
}
