/** The texts of a record that full-text search reads, from the most to the least telling. */
import type { AgentRecord } from "./record.ts";

/** One text of a record and the field that it came from, for explaining a match. */
export interface SearchText {
  readonly field: "name" | "description" | "skill" | "tag" | "example";
  readonly text: string;
}

/** Name, description, skills, tags and examples of a record. */
export function searchTexts(record: AgentRecord): readonly SearchText[] {
  const { card } = record;
  const texts: SearchText[] = [
    { field: "name", text: card.name },
    { field: "description", text: card.description },
  ];
  for (const skill of card.skills) {
    texts.push({ field: "skill", text: skill.name }, { field: "skill", text: skill.description });
    for (const text of skill.tags) texts.push({ field: "tag", text });
    for (const text of skill.examples) texts.push({ field: "example", text });
  }
  for (const text of record.tags) texts.push({ field: "tag", text });
  return texts;
}

/** All search texts joined by line breaks. */
export function searchText(record: AgentRecord): string {
  return searchTexts(record)
    .map((entry) => entry.text)
    .join("\n");
}
