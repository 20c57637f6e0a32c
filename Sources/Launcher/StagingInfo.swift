import JSON

/// `staging_info.yml`, which staging leaves in the droplet: JSON in fact; YAML from the oldest stagers.
package struct StagingInfo: Hashable, Sendable {
    /// The command of the process type `web`, if it has one.
    package let startCommand: String?
    /// A program that runs the start command instead of a shell, with its arguments as shell words.
    package let entrypointPrefix: String?

    package init(startCommand: String?, entrypointPrefix: String? = nil) {
        self.startCommand = startCommand
        self.entrypointPrefix = entrypointPrefix
    }

    /// - Throws: a sentence that says what is not understood, without the text itself.
    package init(parsing text: String) throws(StagingInfoError) {
        let document: JSONValue
        do {
            document = try JSONValue(parsing: text)
        } catch let jsonError {
            if text.drop(while: \.isWhitespace).first == "{" { throw StagingInfoError(reason: "\(jsonError)") }
            do {
                document = try BlockYAML.parse(text)
            } catch let yamlError {
                throw StagingInfoError(reason: "\(yamlError)")
            }
        }
        guard document.object != nil else { throw StagingInfoError(reason: "it is no mapping") }
        startCommand = Self.filled(document["start_command"])
        entrypointPrefix = Self.filled(document["config"]?["entrypoint_prefix"])
    }

    private static func filled(_ value: JSONValue?) -> String? {
        guard let text = value?.string, !text.isEmpty else { return nil }
        return text
    }
}

/// Why `staging_info.yml` is not understood.
package struct StagingInfoError: Error, Hashable, Sendable {
    package let reason: String
}
