import ArgumentParser
import OperatorModel
import Transfer

struct ClusterCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cluster", abstract: "The clusters that run apps: add one, look at them, forget one.",
        subcommands: [Add.self, List.self, Show.self, Forget.self])

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add a cluster, and print the secret with which its agent enrols.",
            discussion: """
                The secret is good for a day, and once. A cluster that is known enrols again with a new one: what \
                runs there, and the credential that its agent has, stay until then.
                """)

        @OptionGroup var server: ServerOptions
        @Option(name: .customLong("label"), help: "A label, NAME=VALUE; may be repeated. Replaces all labels.")
        var labels: [String] = []
        @Argument(help: "The cluster's name.") var name: String

        func validate() throws {
            for label in labels where !label.contains("=") {
                throw ValidationError("'\(printable(label))' is no label: write NAME=VALUE.")
            }
        }

        func run() async throws {
            let pairs = labels.map { $0.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false) }
            let wanted = NewCluster(
                labels: labels.isEmpty
                    ? nil : Dictionary(pairs.map { (String($0[0]), String($0[1])) }, uniquingKeysWith: { $1 }))
            let name = name
            try await server.ask { (client) -> ClusterEnrolment in
                try await client.send(.put, apiPath("clusters", name), wanted.json)
            } print: {
                // The secret alone on standard output, so that it can be piped to where the agent finds it.
                writeToStandardError(
                    "the agent of \($0.cluster) enrols with this secret, once, until \($0.expires):\n")
                return $0.secret + "\n"
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the clusters, and how they are.")

        @OptionGroup var server: ServerOptions

        func run() async throws {
            try await server.ask { (client) -> ClusterInfos in
                try await client.send(.get, apiPath("clusters"))
            } print: { answer in
                var table = Table(["CLUSTER", "HEALTH", "REPORTED", "IMAGES", "UNPINNED", "AGENT", "LABELS"])
                for cluster in answer.clusters {
                    table.add([
                        cluster.cluster, cluster.health.rawValue, cluster.report?.reported.description ?? "-",
                        cluster.report.map { "\($0.digests + ($0.tags ?? 0))" } ?? "-",
                        cluster.state.map { "\($0.unpinned)" } ?? "-", cluster.state?.agent ?? "-",
                        cluster.labelText,
                    ])
                }
                return table.text
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one cluster.")

        @OptionGroup var server: ServerOptions
        @Argument(help: "The cluster's name.") var name: String

        func run() async throws {
            let name = name
            try await server.ask { (client) -> ClusterInfo in
                try await client.send(.get, apiPath("clusters", name))
            } print: { cluster in
                var fields = Fields()
                fields.add("cluster", cluster.cluster)
                fields.add("health", cluster.health.text)
                fields.add("labels", cluster.labels.isEmpty ? nil : cluster.labelText)
                fields.add("added", "\(cluster.added) by \(cluster.addedBy)")
                fields.add("enrolled", cluster.enrolled?.description)
                fields.add("credential until", cluster.expires?.description)
                if let state = cluster.state {
                    fields.add("agent", "\(state.agent), heard of \(state.at)")
                    fields.add("Kubernetes", state.kubernetes)
                    fields.add("unpinned pods", "\(state.unpinned)")
                    for problem in state.problems { fields.add("problem", problem) }
                }
                if let report = cluster.report {
                    fields.add("report", "\(report.reported)\(report.complete ? "" : ", not complete")")
                    fields.add("images", "\(report.digests) by digest, \(report.tags ?? 0) by tag")
                }
                return fields.text
            }
        }
    }

    struct Forget: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Forget a cluster that is no more: its credential ends, and what ran there may be retired.")

        @OptionGroup var server: ServerOptions
        @Argument(help: "The cluster's name.") var name: String

        func run() async throws {
            try await server.change(.delete, apiPath("clusters", name), printing: "\(name) is forgotten\n")
        }
    }
}

extension ClusterInfo {
    fileprivate var labelText: String {
        labels.isEmpty ? "-" : labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
    }
}

extension ClusterInfo.Health {
    fileprivate var text: String {
        switch self {
        case .waiting: "waiting: its agent has not enrolled yet"
        case .healthy: "healthy"
        case .troubled: "troubled: see below"
        case .silent: "silent: no fresh and whole report, so no droplet and no rootfs version is retired"
        case .expired: "expired: its agent has to enrol again, with the secret of `cistern cluster add`"
        }
    }
}
