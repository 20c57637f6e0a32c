import Glibc

/// The program `launch` under each of its names.
package enum Program {
    /// Runs the program. As `launch` it becomes the app, unless it is process 1.
    ///
    /// - Returns: the exit code.
    package static func run() -> Int32 {
        let arguments = System.arguments
        let name = Invocation.name(arguments)
        do throws(LauncherError) {
            let environment = Environment(System.environment)
            switch try Invocation(arguments: arguments, environment: environment) {
            case .text(let text):
                System.write(text, to: STDOUT_FILENO)
                return 0
            case .dumbInit(let options):
                return try dumbInit(options, environment)
            case .launch(let request):
                return try launch(request, layout: .standard, environment, name: name)
            case .launcher(let app, let request):
                return try launch(request, layout: layout(of: app), environment, name: name)
            case .shell(let app, let command):
                return try openShell(command, layout: app.map(layout(of:)) ?? .standard, environment, name: name)
            }
        } catch {
            complain("\(error)", name)
            return error.exitCode
        }
    }

    private static func dumbInit(
        _ options: DumbInitOptions, _ environment: Environment
    ) throws(LauncherError) -> Int32 {
        let supervisor = Supervisor(
            plan: LaunchPlan(program: options.command, environment: environment),
            newSession: !options.isSingleChild, rewrites: options.rewrites, isVerbose: options.isVerbose,
            name: "dumb-init")
        do {
            return try supervisor.run()
        } catch {
            complain("\(error)", "dumb-init")
            return DumbInitOptions.executionFailure
        }
    }

    private static func layout(of app: SystemText) -> DropletPaths {
        DropletPaths(app: app.absolute(from: System.workingDirectory() ?? "/"))
    }

    private static func launch(
        _ request: LaunchRequest, layout: DropletPaths, _ base: Environment, name: String
    ) throws(LauncherError) -> Int32 {
        try enter(layout)
        let staging = DropletReader.stagingInfo(layout)
        let command = try StartCommand.resolve(
            request, override: base.value("START_COMMAND"), stagingInfo: staging.source,
            prefix: staging.info?.entrypointPrefix, sources: { DropletReader.processSources(layout) })
        if case .unreadable(let reason) = staging.source.content {
            complain("\(staging.source.place) is not understood: \(reason)", name)
        }
        return try start(
            command, scripts: DropletReader.profileScripts(layout) + DropletReader.profile(layout), layout, base, name)
    }

    /// The app's `.profile` is left out: it may do what only the app's own start should, as with the predecessor.
    private static func openShell(
        _ command: SystemText?, layout: DropletPaths, _ base: Environment, name: String
    ) throws(LauncherError) -> Int32 {
        try enter(layout)
        guard let shell = Shell.found else { throw .noShell(looked: Shell.places.map(\.display)) }
        return try start(
            command.map { .shell($0) } ?? .program([shell.path]), scripts: DropletReader.profileScripts(layout),
            layout, base, name)
    }

    private static func enter(_ layout: DropletPaths) throws(LauncherError) {
        do {
            try System.changeDirectory(layout.app)
        } catch {
            throw .appDirectory(path: layout.app.display, reason: error.reason)
        }
    }

    /// Becomes the command, or as process 1 supervises it.
    private static func start(
        _ command: StartCommand, scripts: [SystemText], _ layout: DropletPaths, _ base: Environment, _ name: String
    ) throws(LauncherError) -> Int32 {
        let app = AppEnvironment(from: base, layout: layout) { GUID.text(System.randomBytes()) }
        for warning in app.warnings { complain(warning, name) }
        System.ensureDirectory(layout.temporary)
        let plan = try LaunchPlan(command, scripts: scripts, shell: Shell.found, environment: app.environment)
        if System.isProcessOne { return try Supervisor(plan: plan, name: name).run() }
        throw System.execute(plan)
    }

    private static func complain(_ text: String, _ name: String) {
        System.write("\(name): \(text)\n", to: STDERR_FILENO)
    }
}
