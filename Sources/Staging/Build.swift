import Archive
import CLinux
import Glibc
import JSON
package import Launcher
import Runtime

/// The buildpack lifecycle: an app and buildpacks go in, a droplet comes out. It blocks, and runs one program at a
/// time.
///
/// The rules are those of `cloudfoundry/buildpackapplifecycle`; the article "Staging" has them.
package struct Build {
    package static let capturedOutput = 1 << 20

    let places: BuildPlaces
    let limits: FileTree.Limits
    let log: BuildLog
    private let scripts: ScriptRunner
    let cancellation: Cancellation
    private var result = StagingResult()
    /// Whether what is in the work directory was made by this build.
    private var ownsWork = false

    /// - Parameters:
    ///   - environment: of the buildpacks' programs, and nothing but it.
    ///   - errors: the descriptor to which their standard error goes; their standard output goes to the log's.
    ///   - graceTime: how many milliseconds a program has to end by itself when the build is cancelled.
    ///   - ownsAllChildren: whether every child of this process belongs to the build.
    package init(
        places: BuildPlaces, environment: Environment, log: BuildLog, errors: Int32,
        cancellation: Cancellation = Cancellation(), graceTime: Int = 5000, ownsAllChildren: Bool = false,
        limits: FileTree.Limits = FileTree.Limits()
    ) {
        self.places = places
        self.log = log
        self.limits = limits
        self.cancellation = cancellation
        scripts = ScriptRunner(
            environment: environment, log: log.descriptor, errors: errors, cancellation: cancellation,
            graceTime: graceTime, ownsAllChildren: ownsAllChildren)
    }

    /// Runs the build and leaves nothing in the work directory.
    ///
    /// `result` is written in any case; `droplet` only if the build succeeds, and then before it. What an earlier build
    /// left there is removed first.
    /// - Throws: why there is no droplet.
    package mutating func run() throws(BuildError) {
        do throws(BuildError) {
            for path in [places.droplet, places.result, places.newCache] {
                if let slash = path.lastIndex(of: "/"), slash > path.startIndex {
                    try FileTree.makeDirectory(String(path[..<slash]))
                }
                try FileTree.remove(path)
            }
            for path in places.worked where FileTree.isTaken(path) {
                throw BuildError(.other, "\(path) exists already: another build may be at work there", phase: .prepare)
            }
            ownsWork = true
            try build()
            try WholeFile.write(result.json.canonicalBytes, to: places.result)
        } catch {
            result.failure = error
            result.processes = AppProcesses()
            try? FileTree.remove(places.droplet)
            try? WholeFile.write(result.json.canonicalBytes, to: places.result)
            cleanUp()
            throw error
        }
        cleanUp()
    }

    private func cleanUp() {
        guard ownsWork else { return }
        for path in places.worked { try? FileTree.remove(path) }
    }

    private mutating func build() throws(BuildError) {
        let listed = try readList()
        let skipsDetect = !listed.isEmpty && listed.allSatisfy(\.skipsDetect)
        let earlier = skipsDetect ? Array(listed.dropLast()) : []
        let started = try log.phase(.prepare, "Prepare") { () throws(BuildError) in
            try prepare(earlier.map(\.key))
            return try unpackApp()
        }
        let last: Buildpack
        if skipsDetect, let final = listed.last {
            result.buildpacks = listed.map { UsedBuildpack(key: $0.key, name: $0.name) }
            defer { readConfigs() }
            last = try supply(earlier, final: final)
        } else {
            try makeDeps(count: 1)
            let (buildpack, name) = try log.phase(.detect, "Detect") { () throws(BuildError) in try detect(listed) }
            last = buildpack
            result.buildpacks = [UsedBuildpack(key: last.key, name: name.isEmpty ? last.name : name)]
        }
        do {
            defer { readConfigs() }
            try finalize(last, hasEarlier: !earlier.isEmpty)
        }
        result.processes = try processes(last)
        if (result.processes.commands["web"] ?? "").isEmpty {
            log.warn("no start command by a buildpack or a Procfile: the app will not start unless it is given one")
        }
        let (result, log) = (result, log)
        try log.phase(.droplet, "Droplet") { () throws(BuildError) in
            try writeDroplet(result.stagingInfo.canonicalBytes, started: started)
        }
        do throws(BuildError) {
            try log.phase(.cache, "Build cache") { () throws(BuildError) in try writeCache() }
        } catch {
            if error.kind == .cancelled { throw error }
            log.warn("the build cache is not kept: \(error)")
        }
    }

    // MARK: Preparation

    private func readList() throws(BuildError) -> [BuildpackList.Buildpack] {
        guard let bytes = try Self.read(places.list, maximum: 4 << 20) else {
            throw BuildError(.other, "\(places.list) is missing", phase: .prepare)
        }
        guard let json = try? JSONValue(parsing: bytes), let list = BuildpackList(json: json) else {
            throw BuildError(.other, "\(places.list): it is no list of buildpacks", phase: .prepare)
        }
        // A password in a URL would get into the result and into logs.
        return list.buildpacks.map {
            BuildpackList.Buildpack(
                key: $0.key.withoutUserInfo, name: $0.name.withoutUserInfo, skipsDetect: $0.skipsDetect,
                directory: $0.directory, source: $0.source)
        }
    }

    /// The bytes of a file; nil if it is missing.
    private static func read(_ path: String, maximum: Int) throws(BuildError) -> [UInt8]? {
        do {
            return try SmallFile.read(path, maximum: maximum)
        } catch {
            if error.isMissing { return nil }
            throw BuildError(.other, "\(error)")
        }
    }

    private func prepare(_ keys: [String]) throws(BuildError) {
        for path in places.worked + places.contentsDirectories { try FileTree.makeDirectory(path) }
        if FileTree.exists(places.oldCache) {
            do {
                _ = try DirectoryUnpacker.unpack(
                    places.oldCache, into: places.cache, limits: limits, cancellation: cancellation)
            } catch {
                if error.kind == .cancelled { throw error }
                log.warn("the build cache is not used: \(error)")
                try FileTree.remove(places.cache)
            }
        }
        try BuildCache.prepare(places.cache, keys: keys)
    }

    /// - Returns: when the build begins, by the file system's clock: what is changed from then on is made by the build.
    private func unpackApp() throws(BuildError) -> TarTime {
        let skipped: Int
        if FileTree.isDirectory(places.app) {
            skipped = try DirectoryUnpacker.copy(
                places.app, into: places.buildDirectory, limits: limits, cancellation: cancellation)
        } else {
            skipped = try DirectoryUnpacker.unpack(
                places.app, into: places.buildDirectory, limits: limits, cancellation: cancellation)
        }
        if skipped > 0 { log.warn("the app has \(skipped) devices, pipes or sockets, which are left out") }
        let mark = places.contents + "/.started"
        try WholeFile.write([], to: mark)
        guard let status = FileTree.status(mark) else { throw .system("look at", mark, errno) }
        try FileTree.remove(mark)
        return status.modified
    }

    private func makeDeps(count: Int) throws(BuildError) {
        for index in 0..<count { try FileTree.makeDirectory(depsDirectory(index, of: count)) }
    }

    // MARK: The buildpacks' programs

    /// The name of a buildpack's directory in deps: with as many digits as the number of buildpacks has.
    static func index(_ index: Int, of count: Int) -> String {
        let digits = String(count).count
        let text = String(index)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }

    private func depsDirectory(_ index: Int, of count: Int) -> String {
        places.deps + "/" + Self.index(index, of: count)
    }

    private var count: Int { max(1, result.buildpacks.count) }

    /// Fills in what the buildpacks said of themselves so far.
    private mutating func readConfigs() {
        for index in result.buildpacks.indices {
            let path = depsDirectory(index, of: count) + "/config.yml"
            if let bytes = try? Self.read(path, maximum: AppProcesses.maximumSize) {
                result.buildpacks[index].take(config: bytes)
            }
        }
    }

    private func detect(_ listed: [BuildpackList.Buildpack]) throws(BuildError) -> (Buildpack, name: String) {
        for item in listed {
            do throws(BuildError) {
                let buildpack = try Buildpack(item, in: places.buildpacks)
                guard buildpack.has(.detect) else {
                    log.note("\(buildpack.name) has no bin/detect")
                    continue
                }
                if !buildpack.isExecutable(.detect) {
                    log.warn("bin/detect of the buildpack \(buildpack.name) is not executable")
                }
                let output = try scripts.run(
                    buildpack.program(.detect), [places.buildDirectory], capturing: Self.capturedOutput)
                if output.end == .exited(0), !output.isTooMuch {
                    let bytes = output.output.reversed().drop { $0 == 0x0A || $0 == 0x0D }.reversed()
                    let name = String(decoding: Array(bytes), as: UTF8.self)
                    log.note("\(buildpack.name): \(name.isEmpty ? "yes" : name)")
                    return (buildpack, name)
                }
                log.note("\(buildpack.name): no")
            } catch {
                if error.kind == .cancelled { throw error }
                log.note("\(error)")
            }
        }
        throw BuildError(.nothingDetected, "None of the buildpacks detected a compatible application")
    }

    /// Runs supply of every buildpack but the last. - Returns: the last.
    private func supply(
        _ earlier: [BuildpackList.Buildpack], final: BuildpackList.Buildpack
    ) throws(BuildError) -> Buildpack {
        try makeDeps(count: count)
        var buildpacks: [Buildpack] = []
        for item in earlier + [final] {
            do throws(BuildError) {
                buildpacks.append(try Buildpack(item, in: places.buildpacks))
            } catch {
                throw error.at(.supply).counting(as: .supply, item.name)
            }
        }
        let last = buildpacks.removeLast()
        for buildpack in buildpacks where !buildpack.has(.supply) {
            throw BuildError(
                .supply,
                "the buildpack \(buildpack.name) has no bin/supply, which only the last one may lack",
                phase: .supply, buildpack: buildpack.name)
        }
        for (index, buildpack) in buildpacks.enumerated() {
            try run(
                .supply, buildpack,
                [
                    places.buildDirectory, places.cache + "/" + XXH64.directoryName(of: buildpack.key), places.deps,
                    Self.index(index, of: count),
                ], failure: .supply)
        }
        return last
    }

    private func finalize(_ buildpack: Buildpack, hasEarlier: Bool) throws(BuildError) {
        let cache = places.cache + "/" + BuildCache.final
        let index = Self.index(count - 1, of: count)
        if buildpack.has(.finalize) {
            if buildpack.has(.supply) {
                try run(.supply, buildpack, [places.buildDirectory, cache, places.deps, index], failure: .compile)
            }
            try run(
                .finalize, buildpack, [places.buildDirectory, cache, places.deps, index, places.profile],
                failure: .compile)
        } else {
            if hasEarlier {
                log.warn(
                    "the last buildpack has no bin/finalize: it can't use what the buildpacks before it supplied")
            }
            try FileTree.remove(places.deps + "/" + index)
            try run(.compile, buildpack, [places.buildDirectory, cache], failure: .compile)
        }
    }

    private func run(
        _ script: Buildpack.Script, _ buildpack: Buildpack, _ arguments: [String], failure: BuildError.Kind
    ) throws(BuildError) {
        let phase = BuildPhase(rawValue: script.rawValue) ?? .prepare
        let title = script.rawValue.prefix(1).uppercased() + script.rawValue.dropFirst() + " \(buildpack.name)"
        try log.phase(phase, title, buildpack: buildpack.name) { () throws(BuildError) in
            let end: ProcessEnd
            do throws(BuildError) {
                end = try scripts.run(buildpack.program(script), arguments).end
            } catch {
                throw error.counting(as: failure, buildpack.name)
            }
            try check(end, script, buildpack, failure)
        }
    }

    private func check(
        _ end: ProcessEnd, _ script: Buildpack.Script, _ buildpack: Buildpack, _ failure: BuildError.Kind
    ) throws(BuildError) {
        let text: String
        switch end {
        case .exited(0): return
        case .exited(let code): text = "failed with exit code \(code)"
        case .killed(let signal): text = "was ended by signal \(signal)"
        }
        throw BuildError(
            failure, "bin/\(script.rawValue) of the buildpack \(buildpack.name) \(text)", buildpack: buildpack.name,
            end: end)
    }

    // MARK: Processes

    private func processes(_ last: Buildpack) throws(BuildError) -> AppProcesses {
        var processes = AppProcesses()
        for index in 0..<count - 1 { processes.merge(try launchFile(index) ?? []) }
        if let own = try launchFile(count - 1) {
            processes.merge(own)
        } else {
            processes.merge(
                try log.phase(.release, "Release \(last.name)", buildpack: last.name) { () throws(BuildError) in
                    try release(last)
                })
        }
        do throws(BuildError) {
            let path = places.buildDirectory + "/Procfile"
            if let procfile = try Self.read(path, maximum: AppProcesses.maximumSize) {
                processes.merge(
                    try parsed("the Procfile") { () throws(LaunchFileError) in
                        try AppProcesses.procfile(procfile)
                    })
            }
        } catch {
            throw error.at(.processes)
        }
        return processes
    }

    /// The processes in the launch.yml of a buildpack's deps directory; nil if it has none.
    private func launchFile(_ index: Int) throws(BuildError) -> [AppProcess]? {
        let path = depsDirectory(index, of: count) + "/launch.yml"
        do throws(BuildError) {
            guard let bytes = try Self.read(path, maximum: AppProcesses.maximumSize) else { return nil }
            return try parsed("launch.yml of the buildpack \(result.buildpacks[index].name)") {
                () throws(LaunchFileError) in try AppProcesses.launch(bytes)
            }
        } catch {
            throw error.at(.processes)
        }
    }

    private func release(_ buildpack: Buildpack) throws(BuildError) -> [AppProcess] {
        do throws(BuildError) {
            let output = try scripts.run(
                buildpack.program(.release), [places.buildDirectory], capturing: Self.capturedOutput)
            guard !output.isTooMuch else {
                throw BuildError(
                    .release,
                    "bin/release of the buildpack \(buildpack.name) printed more than \(Self.capturedOutput) bytes")
            }
            try check(output.end, .release, buildpack, .release)
            return try parsed("what bin/release of the buildpack \(buildpack.name) printed") {
                () throws(LaunchFileError) in try AppProcesses.release(output.output)
            }
        } catch {
            throw error.counting(as: .release, buildpack.name)
        }
    }

    private func parsed(
        _ what: String, _ body: () throws(LaunchFileError) -> [AppProcess]
    ) throws(BuildError) -> [AppProcess] {
        do throws(LaunchFileError) {
            return try body()
        } catch {
            throw BuildError(.other, "\(what) is not readable: \(error)")
        }
    }
}
