import TestSupport
import Testing

@Suite("The harness itself")
struct HarnessTests {
    @Test("a command's status and both outputs are collected")
    func collects() async throws {
        let result = try await run("sh", ["-c", "cat; echo bad >&2; exit 3"], input: "good")
        #expect(result.status == 3 && result.output == "good" && result.errors == "bad")
    }

    @Test("a missing program is an error, not a skip")
    func missing() async throws {
        await #expect(throws: CommandError.self) { try await run("no-such-program-anywhere") }
    }

    @Test("a command that hangs is killed with what it started")
    func hangs() async throws {
        await #expect(throws: CommandError.self) {
            try await run("sh", ["-c", "sleep 600 & wait"], timeout: .milliseconds(200))
        }
    }

    @Test("a command that leaves a daemon behind is not waited for twice")
    func daemon() async throws {
        let result = try await run("sh", ["-c", "sleep 600 >&2 & echo $!"], timeout: .seconds(60))
        #expect(try await run("kill", [result.output]).status == 0)
    }

    @Test("endless output ends the command")
    func endless() async throws {
        await #expect(throws: CommandError.self) { try await run("yes", timeout: .seconds(60), outputLimit: 1 << 20) }
    }

    @Test("a process that ignores TERM is killed")
    func stubborn() async throws {
        try await withTemporaryDirectory { directory in
            let child = try ChildProcess(
                "sh", ["-c", "trap '' TERM; echo up; while :; do sleep 1; done"], log: directory + "/log")
            try await waitUntil("its first line") { try await run("cat", [directory + "/log"]).output == "up" }
            #expect(try await child.stop(grace: .milliseconds(100)) == 128 + 9)
        }
    }

    @Test("a temporary directory goes, with what is mounted in it")
    func mounts() async throws {
        let path = try await withTemporaryDirectory { directory in
            try await runSuccessfully("mount", ["-t", "tmpfs", "tmpfs", directory])
            try await runSuccessfully("mkdir", [directory + "/a b"])
            try await runSuccessfully("mount", ["-t", "tmpfs", "tmpfs", directory + "/a b"])
            try await runSuccessfully("umount", ["-l", directory])
            try await runSuccessfully("mkdir", [directory + "/a b"])
            try await runSuccessfully("mount", ["-t", "tmpfs", "tmpfs", directory + "/a b"])
            return directory
        }
        #expect(try await run("test", ["-e", path]).status == 1)
    }
}
