import Testing

@testable import Launcher

@Suite("What is executed")
struct LaunchPlanTests {
    private let environment = Environment(["PATH=/usr/bin::/bin/"])
    private let bash = Shell(path: "/bin/bash")

    @Test("A start command without scripts is one shell")
    func plainCommand() throws {
        let plan = try LaunchPlan(.shell("a 'b'"), scripts: [], shell: bash, environment: environment)
        #expect(plan.candidates == ["/bin/bash"])
        #expect(plan.arguments == ["bash", "-c", "a 'b'"])
    }

    @Test("Scripts are sourced in their order by a shell that becomes the command's")
    func scripts() throws {
        let plan = try LaunchPlan(
            .shell("echo 'it''s' \"$A\""), scripts: ["/p/a.sh", "/p/it's.sh"], shell: Shell(path: "/bin/sh"),
            environment: environment)
        #expect(plan.arguments[..<2] == ["sh", "-c"])
        #expect(
            plan.arguments[2].display == #"""
                . '/p/a.sh'
                . '/p/it'\''s.sh'
                exec '/bin/sh' '-c' 'echo '\''it'\'''\''s'\'' "$A"' 'sh'
                """#)
    }

    @Test("An entrypoint prefix stands as shell words before the command")
    func prefix() throws {
        let plan = try LaunchPlan(
            .prefixed("a b", prefix: "wrap -x"), scripts: [], shell: bash, environment: environment)
        #expect(plan.arguments == ["bash", "-c", "exec wrap -x 'a b'"])
    }

    @Test("A program without scripts needs no shell and is looked for in PATH")
    func program() throws {
        let plan = try LaunchPlan(.program(["ls", "-l"]), scripts: [], shell: nil, environment: environment)
        #expect(plan.candidates == ["/usr/bin/ls", "./ls", "/bin/ls"])
        #expect(plan.arguments == ["ls", "-l"])
        #expect(
            try LaunchPlan(.program(["./x"]), scripts: [], shell: nil, environment: environment).candidates == ["./x"])
        #expect(LaunchPlan(program: ["ls"], environment: Environment([])).candidates == ["/bin/ls", "/usr/bin/ls"])
        #expect(LaunchPlan(program: [""], environment: environment).candidates == [])
    }

    @Test("A program with scripts keeps its arguments apart")
    func programWithScripts() throws {
        let plan = try LaunchPlan(
            .program(["a", "b c", "$d"]), scripts: ["/x"], shell: bash, environment: environment)
        #expect(plan.arguments[2] == ". '/x'\nexec 'a' 'b c' '$d'")
    }

    @Test("An image without a shell says so", arguments: [StartCommand.shell("a"), .prefixed("a", prefix: "b")])
    func noShell(command: StartCommand) throws {
        let error = try #require(throws: LauncherError.self) {
            try LaunchPlan(command, scripts: [], shell: nil, environment: environment)
        }
        #expect(error.exitCode == 127)
        #expect("\(error)".contains("/bin/bash") && "\(error)".contains("/bin/sh"))
    }
}
