import { refuse } from "@causeway/core-base";
import type { aca } from "@causeway/core-wire";

/** Result of one check of an application: what, by whom, when (ANA-63). */
export interface Check {
  readonly name: "organisation" | "key" | "scope";
  readonly passed: boolean;
  readonly checker: string;
  readonly atUnixMs: number;
}

/** Refuses an open application that lacks material, with a list of what is missing (ANA-57 to ANA-60). */
export function requireMaterial(material: aca.Material | undefined): void {
  const missing = [
    ...(material?.organisation.trim() ? [] : ["organisation"]),
    ...(material?.developer.trim() ? [] : ["developer"]),
    ...(material?.functionType.trim() ? [] : ["function_type"]),
    ...(material?.scopes.some((scope) => scope.trim() !== "") ? [] : ["scopes"]),
  ];
  if (missing.length > 0) {
    throw refuse(
      "CAUSEWAY_IDENTITY_MATERIAL_MISSING",
      `an application without a token needs material; missing: ${missing.join(", ")}`,
      {
        details: { missing: missing.join(",") },
      },
    );
  }
}

/** Refuses material that is too large to keep. */
export function boundMaterial(material: aca.Material | undefined): void {
  if (!material) return;
  const texts = [material.organisation, material.developer, material.functionType, ...material.scopes];
  if (texts.length > 3 + scopesMax || texts.some((text) => text.length > textCharsMax)) {
    throw refuse(
      "CAUSEWAY_LIMIT_COUNT",
      `expected at most ${scopesMax} scopes and ${textCharsMax} characters in each text of the material`,
      {
        details: { limit: "material" },
      },
    );
  }
}

/** A check that passed. */
export const passed = (name: Check["name"], checker: string, atUnixMs: number): Check => ({
  name,
  passed: true,
  checker,
  atUnixMs,
});

/** The line of a check in the store and the audit log. */
export const checkLine = (check: Check): string =>
  `${check.name} ${check.passed ? "passed" : "failed"} by ${check.checker} at ${new Date(check.atUnixMs).toISOString()}`;

const scopesMax = 64;
const textCharsMax = 1_000;
