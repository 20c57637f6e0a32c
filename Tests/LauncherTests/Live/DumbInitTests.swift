import Testing

@Suite("launch in the place of dumb-init")
struct DumbInitTests {
    private let dumbInit = "/usr/bin/dumb-init"

    @Test("Existing pods start through it")
    func existingPods() throws {
        let root = try TinyRoot()
        try root.write("staging_info.yml", #"{"start_command":"echo $CF_INSTANCE_INDEX $$; exit 9"}"#)
        let command = try root.runAsProcessOne(
            ["/usr/bin/dumb-init", "--", "/lifecycle/launch"], ["POD_NAME": "app-4"])
        // Process 2 was launch and is now the app.
        #expect(command.output == "4 2\n")
        #expect(command.exitCode == 9)
    }

    @Test("A stop reaches an app that was started through it")
    func stop() throws {
        let root = try TinyRoot()
        let app = "trap 'echo stopped; exit 0' TERM; kill -TERM 1; while :; do sleep 0.05; done"
        let command = try root.runAsProcessOne([dumbInit, "--", "/lifecycle/launch"], ["START_COMMAND": app])
        #expect(command.output == "stopped\n")
        #expect(command.exitCode == 0)
    }

    @Test("Rewritten signals arrive as others, or not at all")
    func rewrites() throws {
        let root = try TinyRoot()
        let app =
            "trap 'echo quit; exit 3' QUIT; trap 'echo int' INT; kill -INT 1; kill -TERM 1; while :; do sleep 0.05; done"
        let command = try root.runAsProcessOne([dumbInit, "-r", "15:3", "--rewrite=2:0", "sh", "-c", app])
        #expect(command.output == "quit\n")
        #expect(command.exitCode == 3)
    }

    @Test("In single-child mode only the child is signalled, and it gets no session")
    func singleChild() throws {
        let root = try TinyRoot()
        let app = """
            cut -d' ' -f6 /proc/$$/stat
            trap 'echo child' TERM
            sh -c 'trap "echo grandchild; exit" TERM; kill -TERM 1; sleep 0.5' &
            wait; wait
            """
        let command = try root.runAsProcessOne([dumbInit, "-c", "sh", "-c", app], withProc: true)
        #expect(command.lines.contains("child"))
        #expect(!command.lines.contains("grandchild"))
        #expect(command.lines.first != "2")
    }

    @Test("It is an init whatever its process id, and takes no droplet's environment")
    func notProcessOne() throws {
        let root = try TinyRoot()
        let command = try root.run([dumbInit, "sh", "-c", "echo ${HOME:-none} ${PORT:-none}; kill -KILL $$"])
        #expect(command.output == "none none\n")
        #expect(command.exitCode == 137)
    }

    @Test("It says on request what it does, and never what it runs")
    func verbose() throws {
        let root = try TinyRoot()
        let command = try root.runAsProcessOne([dumbInit, "-v", "sh", "-c", "exit 7 # s3cret"])
        #expect(command.errors.contains("[dumb-init] "))
        #expect(!command.errors.contains("s3cret"))
        #expect(command.exitCode == 7)
    }

    @Test(
        "Its exit codes are dumb-init's",
        arguments: [(["nowhere"], 2), ([], 1), (["-r", "x", "true"], 1), (["-h"], 0)] as [([String], Int32)])
    func exitCodes(words: [String], exitCode: Int32) throws {
        let root = try TinyRoot()
        #expect(try root.runAsProcessOne([dumbInit] + words).exitCode == exitCode)
    }
}
