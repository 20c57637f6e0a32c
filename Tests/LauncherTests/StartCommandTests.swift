import Testing

@testable import Launcher

@Suite("Which command starts an app")
struct StartCommandTests {
    private let staging = CommandSource(
        place: "staging_info.yml", content: .processes([ProcessCommand(type: "web", command: "staged")]))
    private let empty = CommandSource(place: "staging_info.yml", content: .missing)
    private let procfile = CommandSource(
        place: "Procfile",
        content: .processes([
            ProcessCommand(type: "web", command: "procfile web"),
            ProcessCommand(type: "worker", command: "procfile worker"),
        ]))
    private let launchFile = CommandSource(
        place: "launch.yml",
        content: .processes([
            ProcessCommand(type: "worker", command: "buildpack worker"),
            ProcessCommand(type: "agent", command: "buildpack agent"),
        ]))

    private func resolve(
        _ request: LaunchRequest, override: SystemText? = nil, staging: CommandSource? = nil, prefix: String? = nil,
        sources: [CommandSource]? = nil
    ) throws -> StartCommand {
        try StartCommand.resolve(
            request, override: override, stagingInfo: staging ?? self.staging, prefix: prefix,
            sources: { sources ?? [procfile, launchFile] })
    }

    @Test("Without arguments START_COMMAND counts, then staging_info.yml, then the Procfile, then launch.yml")
    func order() throws {
        #expect(try resolve(.standard, override: "override") == .shell("override"))
        #expect(try resolve(.standard, override: "") == .shell("staged"))
        #expect(try resolve(.standard) == .shell("staged"))
        #expect(try resolve(.standard, staging: empty) == .shell("procfile web"))
        let web = CommandSource(
            place: "launch.yml", content: .processes([ProcessCommand(type: "web", command: "buildpack web")]))
        #expect(try resolve(.standard, staging: empty, sources: [web]) == .shell("buildpack web"))
    }

    @Test(
        "One word is a process type, or else a command for the shell",
        arguments: [
            ("web", "procfile web"), ("worker", "procfile worker"), ("agent", "buildpack agent"), ("bash", "bash"),
            ("echo hi", "echo hi"), ("/bin/true", "/bin/true"),
        ] as [(SystemText, SystemText)])
    func word(word: SystemText, expected: SystemText) throws {
        #expect(try resolve(.word(word), override: "not this") == .shell(expected))
    }

    @Test("The type web is known from staging_info.yml alone")
    func stagedWeb() throws { #expect(try resolve(.word("web"), sources: []) == .shell("staged")) }

    @Test("Files are read only when they are needed")
    func lazily() throws {
        let command = try StartCommand.resolve(
            .standard, override: "x", stagingInfo: staging, prefix: nil,
            sources: {
                Issue.record("read the droplet's files although START_COMMAND is set")
                return []
            })
        #expect(command == .shell("x"))
    }

    @Test("The launcher's own argument counts before everything; an empty one asks staging_info.yml, not START_COMMAND")
    func line() throws {
        #expect(try resolve(.line("given"), override: "not this") == .shell("given"))
        #expect(try resolve(.line(""), override: "not this") == .shell("staged"))
        #expect(try resolve(.line("web")) == .shell("web"))
    }

    @Test("An entrypoint prefix gets the app's commands, and no others")
    func prefix() throws {
        #expect(try resolve(.standard, prefix: "wrap") == .prefixed("staged", prefix: "wrap"))
        #expect(try resolve(.standard, override: "x", prefix: "wrap") == .prefixed("x", prefix: "wrap"))
        #expect(try resolve(.word("worker"), prefix: "wrap") == .prefixed("procfile worker", prefix: "wrap"))
        #expect(try resolve(.word("bash"), prefix: "wrap") == .shell("bash"))
        #expect(try resolve(.program(["a", "b"]), prefix: "wrap") == .program(["a", "b"]))
    }

    @Test("No command says where it was looked for and what is there")
    func nothing() throws {
        let worker = CommandSource(
            place: "Procfile", content: .processes([ProcessCommand(type: "worker", command: "s3cret")]))
        let broken = CommandSource(place: "launch.yml", content: .unreadable("nested too deep (line 3)"))
        let error = try #require(throws: LauncherError.self) {
            try resolve(.standard, staging: empty, sources: [worker, broken])
        }
        #expect(error.exitCode == 1)
        #expect(
            "\(error)".hasPrefix(
                "no start command for the process type 'web': START_COMMAND is not set; staging_info.yml is missing; "
                    + "Procfile has only worker; launch.yml is not understood: nested too deep (line 3). "))
        #expect(!"\(error)".contains("s3cret"))
    }
}
