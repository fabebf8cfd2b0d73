package main

import (
	"strings"
	"testing"
)

func claim(phase string, sizes ...any) object {
	return object{"kind": "persistentvolumeclaims", "metadata": object{"name": "data"}, "status": object{"phase": phase, "sizes": sizes}}
}

func TestADifferenceSaysObjectPathAndBothValues(t *testing.T) {
	found := compare(flat("pvc/data ", claim("Bound", "1", "2")), flat("pvc/data ", claim("Lost", "2")))
	expected := []string{`- pvc/data .status.phase = "Bound"`, `+ pvc/data .status.phase = "Lost"`, `- pvc/data .status.sizes[] = "1"`}
	for _, line := range expected {
		if !strings.Contains(strings.Join(found, "\n"), line) {
			t.Errorf("%q is not in %q", line, found)
		}
	}
	if len(found) != len(expected) {
		t.Errorf("%q", found)
	}
}

func TestAValueThatIsTwiceOrInAnotherObjectIsADifference(t *testing.T) {
	one := flat("pvc/data ", claim("Bound", "1"))
	for _, other := range [][]string{flat("pvc/data ", claim("Bound", "1", "1")), flat("pvc/other ", claim("Bound", "1")), nil} {
		if len(compare(one, other)) == 0 || len(compare(other, one)) == 0 {
			t.Errorf("%q is the same as %q", one, other)
		}
	}
	if found := compare(one, flat("pvc/data ", claim("Bound", "1"))); len(found) > 0 {
		t.Errorf("%q", found)
	}
}

func TestAnEmptyListAndNoneAreDifferent(t *testing.T) {
	if len(compare(flat("a ", object{"list": []any{}}), flat("a ", object{}))) == 0 {
		t.Error("they are the same")
	}
}

func TestLongValuesAreShownWhereTheyPart(t *testing.T) {
	long := strings.Repeat("long ", 100)
	found := compare(flat("a ", object{"is": long + "1"}), flat("a ", object{"is": long + "2"}))
	if len(found) != 2 || !strings.HasSuffix(found[0], `long 1"`) || !strings.HasSuffix(found[1], `long 2"`) || len(found[0]) > 60 {
		t.Errorf("%q", found)
	}
}

func TestOfABudgetOnlyTheDisruptionsAreForgotten(t *testing.T) {
	budget := func(kind string) object {
		return object{"kind": kind, "status": object{"disruptedPods": object{}, "currentHealthy": 0, "expectedPods": 1}}
	}
	forgotten, kept := budget("poddisruptionbudgets"), budget("statefulsets")
	forgetDisruption(forgotten)
	forgetDisruption(kept)
	if found := len(forgotten["status"].(object)); found != 1 {
		t.Errorf("%d are left", found)
	}
	if found := len(kept["status"].(object)); found != 3 {
		t.Errorf("%d are left", found)
	}
}
