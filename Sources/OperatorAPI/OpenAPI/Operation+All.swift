import HTTPTypes
import JSON
import Service

extension Operation {
    /// Every route below `/api/v1/`.
    static let all =
        rootfs + packages + deltas + droplets + store + [
            Operation(
                .get, "/api/v1/openapi.json", "This document.", answers: [200: .json(.object([:]))])
        ]

    private static let rootfs: [Operation] = [
        Operation(
            .get, "/api/v1/rootfs", "The rootfs versions of all stacks.",
            answers: [200: .json(.object(["versions": .list(.named("Version"))]))]),
        Operation(
            .get, "/api/v1/rootfs/:stack", "A stack's rootfs versions, the youngest first.",
            answers: [200: .json(.object(["versions": .list(.named("Version"))]))], refusals: [400, 404]),
        Operation(
            .get, "/api/v1/rootfs/:stack/current",
            "What is current, how it came to that, and where a rollback leads. ETag: changes with every promotion.",
            answers: [200: .json(.named("Current"))], refusals: [400, 404]),
        Operation(
            .put, "/api/v1/rootfs/:stack/current",
            "Promotes a version. With `expect`, or If-Match, only if nobody promoted another one meanwhile.",
            body: .json(
                .object(["version": .string], optional: ["reason": .string, "expect": .string])),
            answers: [200: .json(.named("Promoted"))], refusals: [400, 404, 409, 412]),
        Operation(
            .post, "/api/v1/rootfs/:stack/rollback",
            "Goes back to what was current before, of what is still there and not blocked.",
            body: .json(.object([:], optional: ["reason": .string, "expect": .string])), bodyIsOptional: true,
            answers: [200: .json(.named("Promoted"))], refusals: [400, 404, 409, 412]),
        Operation(
            .get, "/api/v1/rootfs/:stack/:version", "All that is known of a version.",
            answers: [200: .json(.named("VersionDetails"))], refusals: [400, 404]),
        Operation(
            .put, "/api/v1/rootfs/:stack/:version", "Imports a rootfs as a version's variant.",
            queries: [
                architecture,
                Query(name: "sha256", schema: .string, summary: "What the file has to have."),
                Query(name: "digest", schema: .digest, summary: "The image that is meant, where there are several."),
                Query(name: "name", schema: .string, summary: "What the sender calls the source."),
                Query(name: "shell", schema: .string, summary: "An absolute path; /bin/bash without it."),
                Query(name: "promote", schema: .boolean, summary: "Makes it current."),
            ],
            body: .file([
                "application/octet-stream", "application/vnd.oci.image.layout.v1+tar",
                "application/vnd.docker.image.archive.v1+tar",
            ]),
            answers: [201: .json(.named("Version"))], refusals: [400, 409, 413, 422, 507]),
        Operation(
            .delete, "/api/v1/rootfs/:stack/:version",
            "Removes a version. What is current or runs stays; what one would go back to needs force.",
            queries: [Query(name: "force", schema: .boolean, summary: "Also what one would go back to.")],
            answers: [204: .nothing], refusals: [400, 404, 409]),
        Operation(
            .put, "/api/v1/rootfs/:stack/:version/state", "Says what may become of a version.",
            body: .json(
                .object(
                    ["state": .words("available", "deprecated", "blocked")], optional: ["reason": .string])),
            answers: [200: .json(.named("State"))], refusals: [400, 404, 409]),
        Operation(
            .get, "/api/v1/rootfs/:stack/:version/export",
            "A variant's layer, a tar that can be imported again. ETag: its digest.", queries: [architecture],
            answers: [200: .file(["application/gzip", "application/zstd", "application/x-tar"])],
            refusals: [400, 404, 422]),
        Operation(
            .get, "/api/v1/rootfs/:stack/:version/prepull",
            "What nodes need for images on a version. Decides the form of these, as their first pull would.",
            queries: [architecture], answers: [200: .json(.named("Prepull"))], refusals: [400, 404, 422]),
    ]

    private static let from = Query(
        name: "from", schema: .string, summary: "The version that the delta begins with.")

    private static let deltas: [Operation] = [
        Operation(
            .get, "/api/v1/rootfs/:stack/:version/delta",
            "A delta that leads to a version; without `from`, all of them.",
            queries: [from, architecture],
            answers: [200: .json(.either(.named("Delta"), .object(["deltas": .list(.named("Delta"))])))],
            refusals: [400, 404]),
        Operation(
            .post, "/api/v1/rootfs/:stack/:version/delta",
            "Computes the layer that turns one version into another, and compares every name.",
            queries: [
                Query(name: from.name, schema: from.schema, summary: from.summary, isRequired: true), architecture,
                Query(
                    name: "times", schema: .words("compared", "ignored"),
                    summary: "Whether a file counts as changed by its modification time alone."),
            ],
            answers: [200: .json(.named("Delta")), 201: .json(.named("Delta"))], refusals: [400, 404, 409, 422]),
    ]

    private static let packages: [Operation] = [
        Operation(
            .get, "/api/v1/rootfs/:stack/:version/packages", "The packages of a version.", queries: [architecture],
            answers: [200: .json(.named("Packages"))], refusals: [400, 404]),
        Operation(
            .get, "/api/v1/rootfs/:stack/:version/diff", "What became of packages from one version to another.",
            queries: [
                Query(name: "from", schema: .string, summary: "The older version.", isRequired: true), architecture,
            ],
            answers: [200: .json(.named("PackageChanges"))], refusals: [400, 404]),
    ]

    private static let droplets: [Operation] = [
        Operation(
            .get, "/api/v1/droplets", "Droplets, a page at a time.",
            queries: [Query(name: "after", schema: .string, summary: "`next` of the page before.")],
            answers: [200: .json(.object(["droplets": .list(.named("Droplet"))], optional: ["next": .string]))]),
        Operation(
            .get, "/api/v1/droplets/:guid", "An app's droplets, the newest first.",
            answers: [200: .json(.object(["droplets": .list(.named("Droplet"))]))], refusals: [400]),
        Operation(
            .get, "/api/v1/droplets/:guid/:hash", "A droplet and its image on the current rootfs.",
            answers: [200: .json(.named("DropletImage"))], refusals: [400, 404]),
    ]

    private static let store: [Operation] = [
        Operation(
            .get, "/api/v1/overview", "Stacks, versions, droplets, clusters and the store at a glance.",
            answers: [200: .json(.named("Overview"))]),
        Operation(
            .get, "/api/v1/gc", "How collecting garbage goes.", answers: [200: .json(.named("CollectionStatus"))]),
        Operation(
            .post, "/api/v1/gc", "Collects garbage.",
            queries: [Query(name: "dry-run", schema: .boolean, summary: "Only says what would go.")],
            answers: [200: .json(.named("Collection"))], refusals: [400, 409]),
        Operation(
            .get, "/api/v1/verify", "How verifying goes.", answers: [200: .json(.named("VerificationStatus"))]),
        Operation(
            .post, "/api/v1/verify", "Begins to read and hash everything again.",
            queries: [
                Query(name: "repair", schema: .boolean, summary: "Corrects records."),
                Query(name: "rate", schema: .integer, summary: "Bytes a second."),
            ], answers: [202: .nothing], refusals: [400, 409]),
        Operation(
            .get, "/api/v1/pins", "The clusters that say what runs there.",
            answers: [200: .json(.object(["clusters": .list(.named("Cluster"))]))]),
        Operation(
            .post, "/api/v1/pins/:cluster", "Takes a cluster's report of what runs there, or a part of it.",
            body: .json(
                .object(["digests": .list(.digest)], optional: ["shard": .integer, "shards": .integer])),
            answers: [204: .nothing], refusals: [400, 413]),
        Operation(
            .delete, "/api/v1/pins/:cluster", "Forgets a cluster that is no more.", answers: [204: .nothing],
            refusals: [400]),
        Operation(.get, "/api/v1/usage", "What is used of the limits.", answers: [200: .json(.named("Usage"))]),
        Operation(
            .post, "/api/v1/usage", "Counts what is used, and answers when that is done.",
            answers: [200: .json(.named("Usage"))], refusals: [409]),
    ]
}
