import CLinux
import Glibc
import Launcher

/// What a person reads while a build runs: lines of the build itself, between what the buildpacks print.
package final class BuildLog {
    package let descriptor: Int32
    /// The phases that have ended, with how long each took.
    package private(set) var phases: [(phase: BuildPhase, buildpack: String?, duration: Duration)] = []

    package init(descriptor: Int32) { self.descriptor = descriptor }

    func note(_ text: String) { write("       \(text)\n") }

    func warn(_ text: String) { write("WARNING: \(text)\n") }

    /// Runs a phase between a line that names it and one with its duration; both tell how it went.
    func phase<Value>(
        _ phase: BuildPhase, _ title: String, buildpack: String? = nil, _ body: () throws(BuildError) -> Value
    ) throws(BuildError) -> Value {
        write("-----> \(title)\n")
        let start = ContinuousClock.now
        func end(_ word: String) {
            let duration = ContinuousClock.now - start
            phases.append((phase, buildpack, duration))
            write("-----> \(title): \(word) \(Self.text(duration))\n")
        }
        do {
            let value = try body()
            end("done in")
            return value
        } catch {
            end("failed after")
            throw error.at(phase)
        }
    }

    /// Seconds to a tenth.
    static func text(_ duration: Duration) -> String {
        let tenths = duration.components.seconds * 10 + duration.components.attoseconds / 100_000_000_000_000_000
        return "\(tenths / 10).\(tenths % 10) s"
    }

    private func write(_ text: String) {
        // Names come from strangers, and may not pass for other lines.
        var rest = Array(text.dropLast().utf8.map { $0 < 0x20 ? UInt8(ascii: " ") : $0 } + [0x0A])[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}
