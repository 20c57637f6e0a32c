import Foundation
import TestSupport
import Testing

@Suite("What the tests are made of")
struct FixtureTests {
    @Test("the tiny rootfs is the same to the byte when built again, and another one in another version")
    func tinyRootfs() async throws {
        try await withTemporaryDirectory { directory in
            let build = Programs.repository + "/rootfs/build"
            let environment = ["CISTERN_ROOTFS_CACHE": directory + "/cache"]
            var digests: [String] = []
            for (version, file) in [("1", "a"), ("1", "b"), ("2", "c")] {
                let output = "\(directory)/\(file).tar"
                try await runSuccessfully(build, ["tiny", version, "--stamp", output], environment: environment)
                try await runSuccessfully("sha256sum", ["--check", output + ".sha256"], directory: directory)
                #expect(try await run("cat", [output + ".packages"]).output.hasPrefix("busybox-static "))
                digests.append(try await String(run("sha256sum", [output]).output.prefix(64)))
            }
            #expect(digests[0] == digests[1])
            #expect(digests[0] != digests[2])
        }
    }

    @Test("without a stamp the same packages give the same bytes in every version")
    func withoutStamp() async throws {
        try await withTemporaryDirectory { directory in
            let environment = ["CISTERN_ROOTFS_CACHE": directory + "/cache"]
            for version in ["1", "2"] {
                try await runSuccessfully(
                    Programs.repository + "/rootfs/build", ["tiny", version, "\(directory)/\(version).tar"],
                    environment: environment)
            }
            #expect(try await run("cmp", [directory + "/1.tar", directory + "/2.tar"]).status == 0)
        }
    }

    @Test("a rootfs with packages is the same to the byte when built again, and lists them as dpkg does")
    func packages() async throws {
        let rootfs = try await Fixtures.consecutiveRootfs().before
        let sources = try await runSuccessfully(
            Programs.repository + "/fixtures/upgrade", ["openssl", "usr/bin/openssl"]
        ).output
        try await withTemporaryDirectory { directory in
            let output = directory + "/again.tar.gz"
            try await runSuccessfully(
                Programs.repository + "/rootfs/build",
                ["tiny", "1", "--with", "openssl", "--sources", sources + "/1.list", output],
                environment: ["CISTERN_ROOTFS_CACHE": directory + "/cache"])
            #expect(try await run("cmp", [rootfs, output]).status == 0)
            try await runSuccessfully("tar", ["-xf", output, "-C", directory])
            let listed = try await runSuccessfully(
                "dpkg-query",
                ["--admindir", directory + "/var/lib/dpkg", "-W", "-f", "${Package} ${Version} ${Architecture}\\n"])
            let expected = try String(contentsOfFile: output + ".packages", encoding: .utf8)
            #expect(listed.output == expected.trimmingCharacters(in: .newlines) && expected.contains("libssl3 "))
        }
    }

    @Test(
        "a wrong rootfs command is told apart from a failed one, and says what to do",
        arguments: [
            ["tiny"], ["nowhere", "1"], ["tiny", "../1"], ["tiny", "current"], ["tiny", "1", "--kind", "other"],
            ["tiny", "1", "--unknown"], ["tiny", "1", "file.zip"],
        ])
    func wrongCommand(arguments: [String]) async throws {
        let result = try await run(Programs.repository + "/rootfs/build", arguments)
        #expect(result.status == 2)
        #expect(result.errors.contains("--help"))
    }

    @Test("sample droplets are the same to the byte when made again")
    func samples() async throws {
        try await withTemporaryDirectory { directory in
            for output in ["a", "b"] {
                try await runSuccessfully(
                    Programs.repository + "/fixtures/build", ["samples", "--output", "\(directory)/\(output)"])
            }
            try await runSuccessfully("diff", ["--recursive", directory + "/a/samples", directory + "/b/samples"])
        }
    }

    @Test("GNU tar takes every awkward droplet")
    func awkward() async throws {
        for droplet in try await Fixtures.awkward() {
            try await withTemporaryDirectory { directory in
                _ = try await ExpectedTree(of: droplet.path, unpackedIn: directory + "/unpacked")
            }
        }
    }

    @Test("every hostile droplet names the status that it deserves")
    func hostile() async throws {
        let droplets = try await Fixtures.hostile()
        #expect(droplets.count > 100)
        #expect(droplets.allSatisfy { $0.refusal == 422 || $0.refusal == 413 })
    }

    @Test("installing what is installed does nothing and says nothing")
    func installAgain() async throws {
        let result = try await run(Programs.repository + "/.ci/install", ["build", "test"], timeout: .seconds(60))
        #expect(result.status == 0)
        #expect(result.stdout.isEmpty && result.stderr.isEmpty)
    }
}
