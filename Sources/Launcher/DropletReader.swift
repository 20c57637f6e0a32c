/// Reads what a droplet says of its processes.
enum DropletReader {
    /// More than any of these files has.
    static let limit = 1 << 20

    static func stagingInfo(_ layout: DropletLayout) -> (source: CommandSource, info: StagingInfo?) {
        var info: StagingInfo?
        let source = source(layout.stagingInfo) { text in
            do throws(StagingInfoError) {
                let parsed = try StagingInfo(parsing: text)
                info = parsed
                let command = parsed.startCommand.map { ProcessCommand(type: StartCommand.defaultType, command: $0) }
                return .processes(command.map { [$0] } ?? [])
            } catch {
                return .unreadable(error.reason)
            }
        }
        return (source, info)
    }

    /// The Procfile, which wins at staging too, then the buildpacks' declarations, the last buildpack's first.
    static func processSources(_ layout: DropletLayout) -> [CommandSource] {
        let launchFiles = System.names(in: layout.dependencies)
            .filter { !$0.isEmpty && $0.bytes.allSatisfy((UInt8(ascii: "0")...UInt8(ascii: "9")).contains) }
            .sorted { ($0.bytes.count, $0) > ($1.bytes.count, $1) }
            .map { layout.launchFile(index: $0) }
            .map { path in source(path, parse: launchFile) }
            .filter { $0.content != .missing }
        return [source(layout.procfile) { .processes(Procfile.parse($0)) }] + launchFiles
    }

    private static func launchFile(_ text: String) -> CommandSource.Content {
        do {
            return .processes(try LaunchFile.parse(text))
        } catch {
            return .unreadable(error.description)
        }
    }

    /// The scripts to source before the app, in their order. All files but hidden ones, as the predecessors did.
    static func profileScripts(_ layout: DropletLayout) -> [SystemText] {
        let scripts = layout.profileDirectories.flatMap { directory in
            System.names(in: directory).filter { !$0.hasPrefix(".") }.map { directory.appending(component: $0) }
        }
        return (scripts + [layout.profile]).filter(System.isFile)
    }

    private static func source(
        _ path: SystemText, parse: (String) -> CommandSource.Content
    ) -> CommandSource {
        let content: CommandSource.Content
        do {
            if let bytes = try System.contents(of: path, limit: limit) {
                content = String(validating: bytes, as: UTF8.self).map(parse) ?? .unreadable("it is not UTF-8")
            } else {
                content = .missing
            }
        } catch {
            content = .unreadable(error.reason)
        }
        return CommandSource(place: path.display, content: content)
    }
}
