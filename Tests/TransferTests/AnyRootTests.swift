import Foundation
import JSON
import StagingService
import Synchronization
import TestSupport
import Testing

/// A DNS server on a loopback address that knows one name (RFC 1035).
private final class NameServer: Sendable {
    private let descriptor: Int32
    private let count = Count()
    /// How many questions were asked.
    var questions: Int { count.value }

    /// - Parameter address: a loopback address, on which port 53 is free.
    init(_ address: String, knows name: String, as answer: [UInt8]) throws {
        descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_port = UInt16(53).bigEndian
        inet_pton(AF_INET, address, &place.sin_addr)
        let bound = withUnsafePointer(to: &place) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard bound == 0 else { throw CommandError.notStarted("a name server on \(address)", errno) }
        var wanted: [UInt8] = name.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
        wanted.append(0)
        let question = wanted
        Thread.detachNewThread { [descriptor, count] in
            var buffer = [UInt8](repeating: 0, count: 512)
            while true {
                var from = sockaddr_storage()
                var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
                let received = withUnsafeMutablePointer(to: &from) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        recvfrom(descriptor, &buffer, buffer.count, 0, $0, &length)
                    }
                }
                guard received > 12 else { break }
                count.add(1)
                let asked = Array(buffer[12..<received])
                let isKnown = asked.starts(with: question)
                let wantsIPv4 = isKnown && asked.count > question.count + 1 && asked[question.count + 1] == 1
                // The same identifier, a response, an authoritative one; the question, and at most one answer.
                var reply = Array(buffer[..<2]) + [0x84, isKnown ? 0 : 3, 0, 1, 0, wantsIPv4 ? 1 : 0, 0, 0, 0, 0]
                reply += asked.prefix(question.count + 4)
                if wantsIPv4 { reply += [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4] + answer }
                _ = withUnsafePointer(to: &from) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        sendto(descriptor, reply, reply.count, 0, $0, length)
                    }
                }
            }
            close(descriptor)
        }
    }

    func stop() { shutdown(descriptor, Int32(SHUT_RDWR)) }
}

/// What the steps need of the root file system that they run in: nothing. A name server of the test answers them on the
/// loopback address, so this shows that names are looked up by DNS and in /etc/hosts, but nothing of a real resolver.
@Suite("The steps on any root file system", .serialized)
struct AnyRootTests {
    enum Root: String, CaseIterable {
        case empty, tiny, cisternfs

        /// Unpacks it into a new directory.
        func make(_ directory: String) async throws {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
            switch self {
            case .empty: return
            case .tiny: try await runSuccessfully("tar", ["-xf", Fixtures.tinyRootfs(), "-C", directory])
            case .cisternfs: try await runSuccessfully("tar", ["-xf", Fixtures.cisternfs(), "-C", directory])
            }
        }
    }

    /// Starts a step by the loader that lies beside it. There is no /dev, and /proc as every container has it.
    private static func start(
        _ program: String, _ arguments: [String], in root: String, hasProc: Bool = true
    ) async throws -> CommandResult {
        try await run(
            "unshare",
            [
                "--mount", "--propagation", "slave", "--", "sh", "-c",
                #"root=$1; shift; [ "$1" = no ] || mount -t proc proc "$root/proc"; shift; exec chroot "$root" "$@""#,
                "sh", root, hasProc ? "yes" : "no", "/lifecycle/lib/ld.so", "--inhibit-cache", "--library-path",
                "/lifecycle/lib", "/lifecycle/\(program)", "--buildpacks", "/buildpacks", "--task", "/task.json",
            ] + arguments)
    }

    @Test("each step starts there, looks a name up, and does its work", arguments: Root.allCases)
    func starts(kind: Root) async throws {
        try await StepWorld.with { world in
            let root = world.directory + "/root"
            try await kind.make(root)
            try ProgramBundle(of: [Programs.path(of: "stage-download"), Programs.path(of: "stage-upload")])
                .copy(to: root + "/lifecycle")
            for name in ["buildpacks", "out", "etc", "tmp", "proc"] {
                try FileManager.default.createDirectory(atPath: root + "/" + name, withIntermediateDirectories: true)
            }
            let name = "files.cistern.test"
            let server = try NameServer("127.0.0.77", knows: name, as: [127, 0, 0, 1])
            defer { server.stop() }
            // Services other than DNS would be loaded from the root's own libraries.
            unlink(root + "/etc/nsswitch.conf")
            try world.write(Array("hosts: mymachines resolve [!UNAVAIL=return] files\n".utf8), "root/etc/nsswitch.conf")
            unlink(root + "/etc/resolv.conf")
            try world.write(Array("nameserver 127.0.0.77\n".utf8), "root/etc/resolv.conf")
            let pack = try await world.zip(["bin/detect": "#!/bin/sh\n"], "pack")
            try await ScriptedServer.with({ request, _, connection in connection.answer(200, [], pack) }) { files in
                let base = "http://\(name):\(files.port)"
                let task: JSONValue = [
                    "DOWNLOAD_URL": .string(base + "/app"), "DROPLET_UPLOAD_URL": .string(base + "/droplet"),
                    "BUILDPACKS": [["key": "k", "name": "n", "url": .string(base + "/pack")]],
                ]
                try world.write(task.canonicalBytes, "root/task.json")
                let bare = try await Self.start("stage-download", ["--workspace", "/w"], in: root, hasProc: false)
                #expect(bare.status == 1 && bare.errors.contains("there is no /proc here"), "\(bare)")
                let refused = try await Self.start("stage-download", ["--allow-http", "--workspace", "/w"], in: root)
                #expect(refused.errors.contains("is or has a loopback address (127.0.0.1)"), "\(refused.errors)")
                let allowed = ["--allow-http", "--allow-host", name]
                let fetched = try await Self.start("stage-download", allowed + ["--workspace", "/w"], in: root)
                #expect(fetched.status == 0, "\(fetched.errors)")
                #expect(world.read(root + "/w/app.zip") == pack)
                #expect(server.questions > 0)

                try world.write(DownloadTests.content, "root/out/droplet.tgz")
                try world.write(Array(#"{"process_types":{},"lifecycle_metadata":{}}"#.utf8), "root/out/result.json")
                let sent = try await Self.start("stage-upload", allowed, in: root)
                #expect(sent.status == 0, "\(sent.errors)")
                #expect(files.requests.last?.body == DownloadTests.content)

                // A name of /etc/hosts, and TLS without anybody to trust.
                unlink(root + "/etc/hosts")
                try world.write(Array("192.0.2.7 known.cistern.test\n".utf8), "root/etc/hosts")
                let secure: JSONValue = [
                    "DOWNLOAD_URL": "https://known.cistern.test/app",
                    "BUILDPACKS": [["url": "https://known.cistern.test/"]],
                ]
                try world.write(secure.canonicalBytes, "root/task.json")
                guard kind == .empty else { return }
                let untrusted = try await Self.start("stage-download", ["--workspace", "/w"], in: root)
                #expect(untrusted.errors.contains("no certificate authorities here"), "\(untrusted)")
            }
        }
    }
}
