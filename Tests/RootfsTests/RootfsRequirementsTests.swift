import Images
import ImagesTesting
import Layers
import Rootfs
import TestSupport
import Testing

@Suite("What a rootfs needs")
struct RootfsRequirementsTests {
    private static let loader = "/lib64/ld-linux-x86-64.so.2"
    private static let dynamic = TestRootfs.elf(loader: loader)

    private static func take(
        _ rootfs: TestRootfs, shell: String = "/bin/bash", architecture: Architecture = .amd64
    ) async throws -> String? {
        let house = try await TestHouse()
        let before = try await house.allKeys()
        do {
            _ = try await house.take(rootfs.tar.bytes, shell: shell, architecture: architecture)
            return nil
        } catch ImageError.unsuitableRootfs(let missing) {
            #expect(try await house.allKeys() == before, "nothing of it stays")
            return missing.joined(separator: "; ")
        }
    }

    @Test(
        "is all there",
        arguments: [
            TestRootfs(),
            TestRootfs(shell: .program("bin/bash", dynamic), more: [.program("lib64/ld-linux-x86-64.so.2", [1])]),
            // Merged /usr, with the links before and after what they lead to.
            TestRootfs(
                shell: .program("usr/bin/bash", dynamic),
                more: [
                    .program("usr/lib64/ld.so", [1]), .symbolicLink("lib64", to: "usr/lib64"),
                    .symbolicLink("usr/lib64/ld-linux-x86-64.so.2", to: "ld.so"),
                    .symbolicLink("usr/bin/sh", to: "bash"),
                ]
            ).moved("bin", to: "usr/bin"),
            TestRootfs(
                shell: .program("bin/box", TestRootfs.elf(), mode: 0o4755),
                more: [.hardLink("bin/box2", to: "bin/box"), .hardLink("bin/bash", to: "bin/box2")]),
            TestRootfs(
                osRelease: nil,
                more: [
                    .file("usr/lib/os-release", "ID=x"), .symbolicLink("etc/os-release", to: "../usr/lib/os-release"),
                ]),
            TestRootfs(passwd: "vcap:x:2000:2000:a user:/:/bin/false", group: "vcap:!:2000"),
        ])
    func whole(rootfs: TestRootfs) async throws {
        #expect(try await Self.take(rootfs) == nil)
    }

    @Test(
        "is named if it is missing",
        arguments: [
            (TestRootfs(shell: nil), "no /bin/bash: name the shell that it has (--shell)"),
            (TestRootfs(shell: .symbolicLink("bin/bash", to: "away")), "no /bin/bash: name the shell"),
            (TestRootfs(shell: .program("bin/bash", TestRootfs.elf(), mode: 0o644)), "can't be executed"),
            (TestRootfs(shell: .directory("bin/bash")), "can't be executed"),
            (TestRootfs(shell: .program("bin/bash", Array("#!/bin/sh\n".utf8))), "is no program"),
            (TestRootfs(shell: .program("bin/bash", [])), "is no program"),
            (TestRootfs(shell: .program("bin/bash", Array(TestRootfs.elf().prefix(50)))), "is no program"),
            (TestRootfs(shell: .program("bin/bash", dynamic)), "no loader \(loader), which /bin/bash needs"),
            (
                TestRootfs(shell: .program("bin/bash", dynamic), more: [.symbolicLink("lib64", to: "nowhere")]),
                "no loader \(loader)"
            ),
            (TestRootfs(shell: .program("bin/bash", TestRootfs.elf(machine: 183))), "is for arm64, not amd64"),
            (TestRootfs(shell: .program("bin/bash", TestRootfs.elf(machine: 40))), "is for arm, not amd64"),
            (TestRootfs(passwd: nil), "no user vcap 2000:2000 in /etc/passwd"),
            (TestRootfs(passwd: "vcap:x:1000:2000::/:/bin/sh\n"), "no user vcap 2000:2000 in /etc/passwd"),
            (TestRootfs(passwd: "xvcap:x:2000:2000::/:/bin/sh\n"), "no user vcap 2000:2000 in /etc/passwd"),
            (TestRootfs(group: "vcap:x:20000:\n"), "no group vcap 2000 in /etc/group"),
            (TestRootfs(osRelease: nil), "no /etc/os-release"),
            (TestRootfs(osRelease: nil, more: [.symbolicLink("etc/os-release", to: "/gone")]), "no /etc/os-release"),
        ])
    func missing(rootfs: TestRootfs, words: String) async throws {
        let missing = try await Self.take(rootfs)
        #expect(
            missing?.contains(words) == true && missing?.contains(";") == false, "\(missing ?? "nothing is missing")")
    }

    @Test("is named all at once")
    func everything() async throws {
        let nothing = TestRootfs(shell: nil, passwd: nil, group: nil, osRelease: nil)
        let missing = try #require(try await Self.take(nothing, shell: "/bin/zsh"))
        for word in ["/bin/zsh", "/etc/passwd", "/etc/group", "/etc/os-release"] { #expect(missing.contains(word)) }
        let other = try await Self.take(TestRootfs(passwd: nil), architecture: .arm64)
        #expect(other?.contains("is for amd64, not arm64") == true && other?.contains("vcap") == true)
    }
}

extension TestRootfs {
    /// With a symbolic link, which comes last, where a directory was.
    func moved(_ directory: String, to target: String) -> TestRootfs {
        var rootfs = self
        rootfs.without = [directory]
        rootfs.more.append(.symbolicLink(directory, to: target))
        return rootfs
    }
}
