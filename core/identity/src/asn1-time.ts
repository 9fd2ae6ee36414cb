/**
 * Time in certificates (RFC 5280 section 4.1.2.5): UTCTime through 2049, GeneralizedTime from 2050 on, both in Zulu with
 * seconds and without fractions. Calendar arithmetic is done here, since the core has no clock and no `Date`.
 */
import { asUnixMs, type UnixMs } from "@causeway/core-base";
import { DerError, type DerReader, tags } from "./der-reader.ts";
import { ascii } from "./der-writer.ts";

/** Reads a Time. */
export function readTime(reader: DerReader): UnixMs {
  const short = reader.peek() === tags.utcTime;
  const text = reader.ascii(short ? tags.utcTime : tags.generalizedTime);
  const match = (short ? utcPattern : generalizedPattern).exec(text);
  if (match === null) throw new DerError(`not a time of the profile: ${JSON.stringify(text.slice(0, 30))}`);
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number);
  const fullYear = short ? year + (year >= 50 ? 1900 : 2000) : year;
  if (!short && fullYear < 2050) throw new DerError("times before 2050 have to be UTCTime");
  const valid =
    month >= 1 &&
    month <= 12 &&
    day >= 1 &&
    day <= daysIn(fullYear, month) &&
    hour <= 23 &&
    minute <= 59 &&
    second <= 59;
  if (!valid) throw new DerError(`no such time: ${text}`);
  return asUnixMs((daysFromCivil(fullYear, month, day) * 86_400 + hour * 3600 + minute * 60 + second) * 1000);
}

/** Writes a Time, cut to whole seconds. */
export function writeTime(time: UnixMs): Uint8Array {
  const { year, text } = digits(time);
  if (year < 1950 || year > 9999) throw new Error(`time out of range: ${time}`);
  return year < 2050 ? ascii(tags.utcTime, `${text.slice(2)}Z`) : ascii(tags.generalizedTime, `${text}Z`);
}

/** A time for people: `2026-11-21T14:00:00Z`. */
export function timeText(time: UnixMs): string {
  const { text } = digits(time);
  return text.replace(/^(\d+)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)$/, "$1-$2-$3T$4:$5:$6Z");
}

function digits(time: UnixMs): { readonly year: number; readonly text: string } {
  const seconds = Math.floor(time / 1000);
  const days = Math.floor(seconds / 86_400);
  const ofDay = seconds - days * 86_400;
  const { year, month, day } = civilFromDays(days);
  const parts = [month, day, Math.floor(ofDay / 3600), Math.floor(ofDay / 60) % 60, ofDay % 60];
  return { year, text: String(year).padStart(4, "0") + parts.map((n) => String(n).padStart(2, "0")).join("") };
}

/** Days since 1970-01-01 in the proleptic Gregorian calendar. */
function daysFromCivil(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const ofEra = y - era * 400;
  const ofYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  return era * 146_097 + ofEra * 365 + Math.floor(ofEra / 4) - Math.floor(ofEra / 100) + ofYear - 719_468;
}

function civilFromDays(days: number): { readonly year: number; readonly month: number; readonly day: number } {
  const z = days + 719_468;
  const era = Math.floor(z / 146_097);
  const ofEra = z - era * 146_097;
  const yearOfEra = Math.floor(
    (ofEra - Math.floor(ofEra / 1460) + Math.floor(ofEra / 36_524) - Math.floor(ofEra / 146_096)) / 365,
  );
  const ofYear = ofEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shifted = Math.floor((5 * ofYear + 2) / 153);
  const month = shifted + (shifted < 10 ? 3 : -9);
  const day = ofYear - Math.floor((153 * shifted + 2) / 5) + 1;
  return { year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day };
}

function daysIn(year: number, month: number): number {
  if (month !== 2) return [4, 6, 9, 11].includes(month) ? 30 : 31;
  return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28;
}

const utcPattern = /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;
const generalizedPattern = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;
