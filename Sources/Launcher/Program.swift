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
                let app = app.absolute(from: System.workingDirectory() ?? "/")
                return try launch(request, layout: DropletPaths(app: app), environment, name: name)
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

    private static func launch(
        _ request: LaunchRequest, layout: DropletPaths, _ base: Environment, name: String
    ) throws(LauncherError) -> Int32 {
        let plan = try plan(request, layout: layout, base, name: name)
        if System.isProcessOne { return try Supervisor(plan: plan, name: name).run() }
        throw System.execute(plan)
    }

    private static func plan(
        _ request: LaunchRequest, layout: DropletPaths, _ base: Environment, name: String
    ) throws(LauncherError) -> LaunchPlan {
        do {
            try System.changeDirectory(layout.app)
        } catch {
            throw .appDirectory(path: layout.app.display, reason: error.reason)
        }
        let staging = DropletReader.stagingInfo(layout)
        let command = try StartCommand.resolve(
            request, override: base.value("START_COMMAND"), stagingInfo: staging.source,
            prefix: staging.info?.entrypointPrefix, sources: { DropletReader.processSources(layout) })
        if case .unreadable(let reason) = staging.source.content {
            complain("\(staging.source.place) is not understood: \(reason)", name)
        }
        let app = AppEnvironment(from: base, layout: layout) { GUID.text(System.randomBytes()) }
        for warning in app.warnings { complain(warning, name) }
        System.ensureDirectory(layout.temporary)
        return try LaunchPlan(
            command, scripts: DropletReader.profileScripts(layout),
            shell: Shell.places.first(where: System.isExecutable).map(Shell.init), environment: app.environment)
    }

    private static func complain(_ text: String, _ name: String) {
        System.write("\(name): \(text)\n", to: STDERR_FILENO)
    }
}
