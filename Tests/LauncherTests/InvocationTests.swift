import Testing

@testable import Launcher

@Suite("The arguments")
struct InvocationTests {
    private func parse(_ arguments: [SystemText], _ environment: [SystemText] = []) throws -> Invocation {
        try Invocation(arguments: arguments, environment: Environment(environment))
    }

    @Test(
        "launch takes nothing, a word, or a program with arguments",
        arguments: [
            ([], .standard), ([""], .standard), (["--"], .standard), (["web"], .word("web")),
            (["echo hi"], .word("echo hi")), (["sh", "-c", "echo"], .program(["sh", "-c", "echo"])),
            (["--", "web"], .program(["web"])), (["--", "-x"], .program(["-x"])), (["--", "--"], .program(["--"])),
            (["web", "--"], .program(["web", "--"])),
        ] as [([SystemText], LaunchRequest)])
    func launch(words: [SystemText], expected: LaunchRequest) throws {
        #expect(try parse(["/lifecycle/launch"] + words) == .launch(expected))
    }

    @Test(
        "Any other name than dumb-init, launcher and shell is launch",
        arguments: ["launch", "x", "/a/b", ""] as [SystemText])
    func names(name: SystemText) throws { #expect(try parse([name]) == .launch(.standard)) }

    @Test("No arguments at all, not even a name, is launch")
    func noName() throws { #expect(try parse([]) == .launch(.standard)) }

    @Test("launcher takes a directory, a command and metadata that it never looks at")
    func launcher() throws {
        #expect(try parse(["/lifecycle/launcher", "app", "x y"]) == .launcher(app: "app", .line("x y")))
        #expect(try parse(["launcher", "/a", "", "", "-credhubRetryDelay=0s"]) == .launcher(app: "/a", .line("")))
    }

    @Test(
        "shell takes a directory, a command and flags that it never looks at",
        arguments: [
            ([], nil, nil), (["app"], "app", nil), (["/a", "x y"], "/a", "x y"), (["a", ""], "a", ""),
            (["a", "env", "-credhubRetryDelay=0s"], "a", "env"),
        ] as [([SystemText], SystemText?, SystemText?)])
    func shell(words: [SystemText], app: SystemText?, command: SystemText?) throws {
        #expect(try parse(["/lifecycle/shell"] + words) == .shell(app: app, command: command))
    }

    @Test(
        "Arguments without sense are refused with the exit code of the program that they were meant for",
        arguments: [
            (["launch", "-x"], 2), (["launcher"], 1), (["launcher", "/app"], 1), (["launcher", "", "x"], 1),
            (["shell", ""], 1), (["dumb-init"], 1), (["dumb-init", "--"], 1), (["dumb-init", "-x", "a"], 1),
            (["dumb-init", "-r"], 1),
            (["dumb-init", "-r", "15", "a"], 1), (["dumb-init", "-r", "0:1", "a"], 1),
            (["dumb-init", "-r", "15:32", "a"], 1), (["dumb-init", "-r", "15:x", "a"], 1),
            (["dumb-init", "--ver", "a"], 1), (["dumb-init", "--verbose=1", "a"], 1),
            (["dumb-init", "--nope", "a"], 1),
        ] as [([SystemText], Int32)])
    func refused(arguments: [SystemText], exitCode: Int32) throws {
        let error = try #require(throws: LauncherError.self) { try parse(arguments) }
        #expect(error.exitCode == exitCode)
    }

    private func options(
        _ command: [SystemText], single: Bool = false, verbose: Bool = false, rewrites: [Int32: Int32] = [:]
    ) -> Invocation {
        var options = DumbInitOptions()
        options.command = command
        options.isSingleChild = single
        options.isVerbose = verbose
        options.rewrites = rewrites
        return .dumbInit(options)
    }

    @Test("dumb-init's options are getopt's, up to the first word that is none")
    func dumbInit() throws {
        #expect(try parse(["/usr/bin/dumb-init", "--", "/lifecycle/launch"]) == options(["/lifecycle/launch"]))
        #expect(try parse(["dumb-init", "a", "-c"]) == options(["a", "-c"]))
        #expect(try parse(["dumb-init", "-c", "a"]) == options(["a"], single: true))
        #expect(try parse(["dumb-init", "--single-child", "a"]) == options(["a"], single: true))
        #expect(try parse(["dumb-init", "-vc", "--", "-a"]) == options(["-a"], single: true, verbose: true))
        #expect(try parse(["dumb-init", "--verb", "a"]) == options(["a"], verbose: true))
        for words: [SystemText] in [["-r", "15:3"], ["-r15:3"], ["--rewrite", "15:3"], ["--rewrite=15:3"]] {
            #expect(try parse(["dumb-init"] + words + ["a"]) == options(["a"], rewrites: [15: 3]))
        }
        #expect(
            try parse(["dumb-init", "-r", "15:3", "-r", "2:0", "a"]) == options(["a"], rewrites: [15: 3, 2: 0]))
        #expect(
            try parse(["dumb-init", "a"], ["DUMB_INIT_SETSID=0", "DUMB_INIT_DEBUG=1"])
                == options(["a"], single: true, verbose: true))
    }

    @Test(
        "Help is a text",
        arguments: [["launch", "--help"], ["launch", "-h"], ["dumb-init", "-h"], ["dumb-init", "-V"]])
    func help(arguments: [String]) throws {
        guard case .text(let text) = try parse(arguments.map { SystemText($0) }) else {
            Issue.record("no text")
            return
        }
        #expect(text.contains(arguments[0]))
    }
}
