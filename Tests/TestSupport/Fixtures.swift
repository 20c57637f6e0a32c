import Foundation
import Synchronization

/// A droplet that `fixtures/build` made.
public struct FixtureDroplet: Sendable, CustomStringConvertible {
    public let name: String
    public let path: String
    /// What is odd about it, in words.
    public let why: String
    /// The HTTP status with which it is refused; nil if it has to be taken.
    public let refusal: Int?

    public var description: String { name }
}

/// The droplets and rootfs tarballs that tests use, made when they are first asked for. Making them again is quick.
public enum Fixtures {
    /// Apps that run: static, shell, worker, python.
    public static func samples() async throws -> [FixtureDroplet] { try await droplets("samples") }

    /// Fine, but hard to read: every tar program and format.
    public static func awkward() async throws -> [FixtureDroplet] { try await droplets("awkward") }

    /// To be refused.
    public static func hostile() async throws -> [FixtureDroplet] { try await droplets("hostile") }

    /// The path of a sample app's droplet.
    public static func sample(_ name: String) async throws -> String {
        guard let found = try await samples().first(where: { $0.name == name + ".tgz" }) else {
            throw CommandError.notFound("the sample droplet \(name)")
        }
        return found.path
    }

    /// The path of the tiny busybox rootfs, gzipped. Versions differ in /etc/os-release alone.
    public static func tinyRootfs(version: String = "1") async throws -> String {
        try await made("rootfs/build", ["tiny", version, "--stamp"])
    }

    /// The path of the Debian rootfs that the demo uses, too, gzipped. Making it the first time takes a minute.
    public static func cisternfs() async throws -> String {
        try await made("rootfs/build", ["cisternfs", "1", "--stamp"])
    }

    /// The paths of two root filesystems with `/bin/sh`, made from Debian's packages, that differ by an upgraded `openssl`.
    public static func consecutiveRootfs() async throws -> (before: String, after: String) {
        let sources = try await made("fixtures/upgrade", ["openssl", "usr/bin/openssl"])
        func build(_ version: String, _ list: String) async throws -> String {
            try await made(
                "rootfs/build", ["tiny", version, "--with", "openssl", "--sources", "\(sources)/\(list).list"])
        }
        return (try await build("before-upgrade", "1"), try await build("after-upgrade", "2"))
    }

    private static func droplets(_ kind: String) async throws -> [FixtureDroplet] {
        let output = Programs.repository + "/.build/fixtures"
        _ = try await made("fixtures/build", [kind, "--output", output])
        let manifest = try Data(contentsOf: URL(fileURLWithPath: "\(output)/\(kind)/manifest.json"))
        return try JSONDecoder().decode([Row].self, from: manifest).map { row in
            FixtureDroplet(
                name: row.file, path: "\(output)/\(kind)/\(row.file)", why: row.why, refusal: row.expected.status)
        }
    }

    /// What scripts of the repository printed, by script and arguments.
    private static let printed = Mutex<[[String]: String]>([:])

    /// Runs a script of the repository that makes something, unless this process did that before: to find out that
    /// everything is up to date takes as long as many a test.
    private static func made(_ script: String, _ arguments: [String]) async throws -> String {
        if let output = printed.withLock({ $0[[script] + arguments] }) { return output }
        let output = try await runSuccessfully(
            "\(Programs.repository)/\(script)", arguments, timeout: .seconds(600)
        ).output
        printed.withLock { $0[[script] + arguments] = output }
        return output
    }

    private struct Row: Decodable {
        let file: String
        let why: String
        let expected: Expected
    }

    /// `"ok"`, or a status.
    private struct Expected: Decodable {
        let status: Int?

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            status = try? container.decode(Int.self)
            if status == nil, try container.decode(String.self) != "ok" {
                throw DecodingError.dataCorruptedError(in: container, debugDescription: "neither ok nor a status")
            }
        }
    }
}
