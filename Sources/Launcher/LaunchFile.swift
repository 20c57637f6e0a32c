import JSON

/// `deps/<index>/launch.yml`: the processes and sidecars that a buildpack declares.
enum LaunchFile {
    /// The processes in their order, sidecars included: a sidecar's container names it by its type too.
    static func parse(_ text: String) throws(BlockYAMLError) -> [ProcessCommand] {
        let document = try BlockYAML.parse(text)
        return (document["processes"]?.array ?? []).compactMap { process in
            guard let type = process["type"]?.string, let command = process["command"]?.string, !command.isEmpty else {
                return nil
            }
            return ProcessCommand(type: type, command: YAMLScalar.withoutTrailingNewline(command))
        }
    }
}
