import CLinux
import Foundation
import Glibc
import JSON
import Synchronization

/// A network for a step: a namespace of its own, from which connections leave through a process outside
/// (slirp4netns), so that nothing can come in, and neither this machine nor its link can be reached.
public struct SandboxNetwork: Hashable, Sendable {
    /// What is never reached: link-local addresses, with most metadata services, and those services that lie elsewhere.
    static let refusedAlways = ["169.254.0.0/16", "100.100.100.200/32", "192.0.0.192/32"]

    /// Further ranges that are not reached: `a.b.c.d/n`.
    public let refused: [String]

    /// - Returns: nil if one of the texts is no range of IPv4 addresses. (There is no IPv6 inside.)
    public init?(refused: [String] = []) {
        for range in refused {
            let parts = range.split(separator: "/", omittingEmptySubsequences: false)
            var address = in_addr()
            guard parts.count == 2, inet_pton(AF_INET, String(parts[0]), &address) == 1,
                let bits = Int(parts[1]), (0...32).contains(bits)
            else { return nil }
        }
        self.refused = refused
    }

    /// The programs that are needed besides those of every sandbox.
    static let programs = [("slirp4netns", "slirp4netns"), ("ip", "iproute2"), ("nsenter", "util-linux")]

    /// Where names are looked up inside: at slirp4netns.
    static let resolver = "nameserver 10.0.2.3\n"

    /// Connects a namespace, and lets the step begin when that is done. It ends with its parent.
    ///
    /// Arguments: the step's directory, a process in the namespace, root or user, then the ranges.
    private static let script = """
        set -eu
        directory=$1 process=$2 who=$3; shift 3
        if [ "$who" = root ]; then
            inside="nsenter --net=/proc/$process/ns/net --"
            namespace="--netns-type=path /proc/$process/ns/net"
        else
            inside="nsenter --preserve-credentials --user --net --target $process --"
            namespace=$process
        fi
        own=$(ip -o -4 address show scope global | sed -n 's|.* inet \\([0-9.]*\\).*|\\1/32|p')
        for range in "$@" $own; do
            $inside ip route add unreachable "$range"
        done
        exec 3<>"$directory/ready"
        (head -c 1 <&3 >/dev/null; echo >"$directory/go") &
        exec setpriv --pdeathsig KILL slirp4netns --configure --mtu=65520 --disable-host-loopback --ready-fd=3 \\
            $namespace tap0
        """

    /// Runs until the calling task is cancelled.
    /// - Parameter directory: the step's, with the pipes `go` and `ready`, and `status`, which names the process.
    /// - Throws: `.isolation` if the namespace can't be connected.
    func run(in directory: String, isRoot: Bool) async throws {
        let process = try await Self.process(status: directory + "/status")
        var limits = SandboxLimits()
        limits.time = .seconds(366 * 86_400)
        let said = Mutex(LogTail())
        let end = try await SandboxedProcess(
            ["/bin/sh", "-c", Self.script, "network", directory, "\(process)", isRoot ? "root" : "user"]
                + Self.refusedAlways + refused,
            environment: ["PATH": Sandbox.path], limits: limits
        ) { bytes in said.withLock { $0.take(bytes) } }.run()
        guard end == .cancelled else {
            throw SandboxError.isolation("its network failed: \(said.withLock { $0.lines.last ?? "" })")
        }
    }

    /// The first process of the step, once bubblewrap has told it.
    private static func process(status: String) async throws -> Int64 {
        for _ in 0..<1500 {
            let text = (try? String(contentsOfFile: status, encoding: .utf8)) ?? ""
            for line in text.split(separator: "\n") {
                if let number = (try? JSONValue(parsing: String(line)))?["child-pid"]?.integer { return number }
            }
            try await Task.sleep(for: .milliseconds(20))
        }
        throw SandboxError.isolation("its preparation took longer than 30 s")
    }
}
